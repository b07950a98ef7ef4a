// Where to look: shapes drawn on the picture, by pointer or keys, in pixels of the images.

// Shapes for images of one size, { kind, polygon }, kind being roi or ignore; and the number of
// changes so far.
const places = { shapes: [], width: 0, height: 0, version: 0 };
// The shape that is being drawn: { kind, shape, corners, cursor, width, height }.
let drawing = null;

const polygonsOf = (kind) => places.shapes.filter((shape) => shape.kind === kind).map((shape) => shape.polygon);

// What holds for an image of this size, { roi, ignore }; null where that is the whole.
function placesFor(width, height) {
  if (!places.shapes.length || places.width !== width || places.height !== height) return null;
  return { roi: polygonsOf("roi"), ignore: polygonsOf("ignore") };
}

function startDrawing(kind, shape, { width, height }) {
  drawing = { kind, shape, corners: [], cursor: [Math.round(width / 2), Math.round(height / 2)], width, height };
}

// A corner at a place; true if that ends the shape, which is then among the places.
function addCorner([x, y]) {
  const { shape, corners } = drawing;
  const near = Math.max(drawing.width, drawing.height) / 60;
  const [first] = corners;
  if (shape === "polygon" && corners.length >= 3 && Math.hypot(first[0] - x, first[1] - y) < near) return endShape();
  if (shape === "rectangle" && first) {
    if (first[0] === x || first[1] === y) return false; // no area yet
    const [left, right] = [first[0], x].sort((a, b) => a - b);
    const [top, bottom] = [first[1], y].sort((a, b) => a - b);
    drawing.corners = [[left, top], [right, top], [right, bottom], [left, bottom]];
    return endShape();
  }
  corners.push([x, y]);
  return false;
}

// Takes the shape that is drawn, if it has an area.
function endShape() {
  const { kind, corners, width, height } = drawing;
  if (corners.length < 3) return false;
  // Those for images of another size go.
  const others = places.width === width && places.height === height ? places.shapes : [];
  keep([...others, { kind, polygon: corners }]);
  Object.assign(places, { width, height });
  drawing = null;
  return true;
}

function moveCursor([x, y]) {
  drawing.cursor = [Math.min(Math.max(Math.round(x), 0), drawing.width), Math.min(Math.max(Math.round(y), 0), drawing.height)];
}

function keep(shapes) {
  places.shapes = shapes;
  places.version++;
}

const polygonFile = (polygons) => new Blob([JSON.stringify({ polygons })], { type: "application/json" });

// Draws what a result did not look at, and the shape that is being drawn; context in pixels of the
// picture, which are so many of the image's.
function drawPlaces(context, result, scale, pen) {
  const path = (polygon) => {
    const drawn = new Path2D();
    polygon.forEach(([x, y], i) => drawn[i ? "lineTo" : "moveTo"](x * scale, y * scale));
    drawn.closePath();
    return drawn;
  };
  const { width, height } = context.canvas;
  if (result.places) {
    const { roi, ignore } = result.places;
    const shade = document.createElement("canvas");
    Object.assign(shade, { width, height });
    const on = shade.getContext("2d");
    on.fillStyle = "#101820";
    if (roi.length) {
      on.fillRect(0, 0, width, height);
      on.globalCompositeOperation = "destination-out";
      for (const polygon of roi) on.fill(path(polygon), "evenodd");
      on.globalCompositeOperation = "source-over";
    }
    for (const polygon of ignore) on.fill(path(polygon), "evenodd");
    context.globalAlpha = 0.6;
    context.drawImage(shade, 0, 0);
    context.globalAlpha = 1;
    // The colour that overlays of the program have for this edge.
    context.strokeStyle = "rgb(90 230 90)";
    context.lineWidth = 1.5 * pen;
    for (const polygon of [...roi, ...ignore]) context.stroke(path(polygon));
  }
  if (drawing) drawShape(context, scale, pen, path);
}

function drawShape(context, scale, pen, path) {
  const { corners, cursor, shape } = drawing;
  const [first] = corners;
  const box = first && [first, [cursor[0], first[1]], cursor, [first[0], cursor[1]]];
  const [x, y] = cursor.map((value) => value * scale);
  const cross = new Path2D();
  for (const [dx, dy] of [[12 * pen, 0], [0, 12 * pen]]) {
    cross.moveTo(x - dx, y - dy);
    cross.lineTo(x + dx, y + dy);
  }
  for (const [colour, width] of [["#000", 3.5 * pen], ["rgb(90 230 90)", 1.5 * pen]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.stroke(cross);
    if (first) context.stroke(path(shape === "rectangle" ? box : [...corners, cursor]));
  }
}
