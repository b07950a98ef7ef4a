// Drawing: the image, the heat over it, the contour at the threshold, a region's box.

// The longer side on the page in pixels; downloads have the image's own.
const shownSide = (result) => Math.min(Math.max(result.width, result.height, 900), 1400);

// The heat at the map's size. Colours stand for values in [0, 1] whatever the image; what is
// below 0.1 is not covered, what is above 0.6 the most.
function heatLayer(map) {
  const layer = document.createElement("canvas");
  layer.width = map.columns;
  layer.height = map.rows;
  const context = layer.getContext("2d");
  const pixels = context.createImageData(map.columns, map.rows);
  map.values.forEach((raw, i) => {
    const value = Math.min(Math.max(raw, 0), 1);
    const weight = Math.min(Math.max((value - 0.1) / 0.5, 0), 1);
    pixels.data.set([...COLOURS[Math.round(value * 255)], Math.round(weight * 255)], 4 * i);
  });
  context.putImageData(pixels, 0, 0);
  return layer;
}

// The line where a map crosses the threshold (marching squares), on a path in pixels.
function contour(map, threshold, toX, toY) {
  const { rows, columns, values } = map;
  const path = new Path2D();
  const at = (y, x) => values[y * columns + x] - threshold;
  for (let y = 0; y + 1 < rows; y++) {
    for (let x = 0; x + 1 < columns; x++) {
      const corners = [at(y, x), at(y, x + 1), at(y + 1, x + 1), at(y + 1, x)];
      const places = [[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1]];
      const crossings = [];
      for (let i = 0; i < 4; i++) {
        const [a, b] = [corners[i], corners[(i + 1) % 4]];
        if (a >= 0 === b >= 0) continue;
        const [p, q] = [places[i], places[(i + 1) % 4]], t = a / (a - b);
        crossings.push([p[0] + (q[0] - p[0]) * t + 0.5, p[1] + (q[1] - p[1]) * t + 0.5]);
      }
      for (let i = 0; i + 1 < crossings.length; i += 2) {
        path.moveTo(toX(crossings[i][0]), toY(crossings[i][1]));
        path.lineTo(toX(crossings[i + 1][0]), toY(crossings[i + 1][1]));
      }
    }
  }
  return path;
}

// Draws a result with a longer side of so many pixels, and what it did not look at. shown: { bitmap or null, result, heat, threshold, opacity, region or null }.
function draw(canvas, shown, side) {
  const { bitmap, result, heat, threshold, opacity, region } = shown;
  const scale = side / Math.max(result.width, result.height);
  canvas.width = Math.max(1, Math.round(result.width * scale));
  canvas.height = Math.max(1, Math.round(result.height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  if (bitmap) {
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  } else {
    context.fillStyle = "#808080";
    context.fillRect(0, 0, canvas.width, canvas.height);
  }
  const { left, top, width, height } = result.map.extent;
  context.globalAlpha = opacity;
  context.drawImage(heat, left * scale, top * scale, width * scale, height * scale);
  context.globalAlpha = 1;
  const toX = (x) => (left + (x * width) / result.map.columns) * scale;
  const toY = (y) => (top + (y * height) / result.map.rows) * scale;
  // Light on dark, so that it is seen on any ground.
  const pen = Math.max(1, Math.max(canvas.width, canvas.height) / 500);
  const stroke = (path) => {
    for (const [colour, width] of [["#000", 3 * pen], ["#fff", 1.2 * pen]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.stroke(path);
    }
  };
  drawPlaces(context, result, scale, pen);
  if (threshold > 0) stroke(contour(result.map, threshold, toX, toY));
  if (region) {
    const box = new Path2D();
    box.rect(region.x * scale, region.y * scale, region.width * scale, region.height * scale);
    context.setLineDash([6 * pen, 4 * pen]);
    stroke(box);
  }
}

// Width and height of a file's image; null if the browser cannot show it.
const sizeOf = (file) => createImageBitmap(file).then((bitmap) => {
  const { width, height } = bitmap;
  bitmap.close();
  return { width, height };
}).catch(() => null);

// A small picture of a file; stays empty if the browser cannot show it.
function thumbnail(file) {
  const canvas = document.createElement("canvas");
  canvas.className = "thumb";
  canvas.width = canvas.height = 104;
  createImageBitmap(file).then((bitmap) => {
    const scale = Math.min(canvas.width / bitmap.width, canvas.height / bitmap.height);
    const [width, height] = [bitmap.width * scale, bitmap.height * scale];
    const [left, top] = [(canvas.width - width) / 2, (canvas.height - height) / 2];
    canvas.getContext("2d").drawImage(bitmap, left, top, width, height);
    bitmap.close();
  }).catch(() => {});
  return canvas;
}
