// Drawing where to look: buttons, pointer and keys.

const KINDS = ["roi", "ignore"];

// Everything about the places but the picture itself.
function showPlaces() {
  const any = places.shapes.length > 0;
  byId("places").hidden = grouping() || Boolean(current?.live); // looked at as a whole
  byId("picture").classList.toggle("drawing", Boolean(drawing));
  byId("close-shape").hidden = !(drawing?.shape === "polygon" && drawing.corners.length > 2);
  byId("remove-last").hidden = byId("remove-places").hidden = !any;
  for (const kind of KINDS) {
    byId(`draw-${kind}`).setAttribute("aria-pressed", String(drawing?.kind === kind));
    byId(`save-${kind}`).hidden = !polygonsOf(kind).length;
  }
  const { width, height } = view?.result ?? {};
  const how = { rectangle: "Drag a rectangle, or set two corners", polygon: "Set corners, and the first one again to end" };
  byId("places-note").textContent = drawing
    ? `${how[drawing.shape]}; arrow keys and Enter do it, too. Escape gives up.`
    : any && (places.width !== width || places.height !== height)
      ? `Drawn for images of ${places.width} × ${places.height} pixels: this one is looked at as a whole.`
      : "";
  const picture = byId("picture");
  if (drawing) picture.tabIndex = 0;
  else picture.removeAttribute("tabindex");
}

function placesChanged() {
  showPlaces();
  paint();
  if (items.some((item) => item.version !== places.version)) say("Looking again …");
  items.filter((item) => item.version !== places.version).forEach(judge);
}

for (const kind of KINDS) {
  byId(`draw-${kind}`).addEventListener("click", () => {
    if (drawing?.kind === kind) drawing = null;
    else startDrawing(kind, byId("shape").value, view.result);
    showPlaces();
    paint();
    if (drawing) byId("picture").focus();
  });
  byId(`save-${kind}`).addEventListener("click", () => offer(`${kind}.json`, polygonFile(polygonsOf(kind))));
}
byId("shape").addEventListener("change", () => {
  if (!drawing) return;
  startDrawing(drawing.kind, byId("shape").value, view.result);
  showPlaces();
  paint();
});
byId("close-shape").addEventListener("click", () => endShape() && placesChanged());
byId("remove-last").addEventListener("click", () => {
  keep(places.shapes.slice(0, -1));
  placesChanged();
});
byId("remove-places").addEventListener("click", () => {
  keep([]);
  placesChanged();
});

// Where on the image a pointer is.
function pointed(event) {
  const box = byId("picture").getBoundingClientRect();
  const { width, height } = view.result;
  return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
}
function corner() {
  const ended = addCorner(drawing.cursor);
  if (ended) return placesChanged();
  showPlaces();
  paint();
}
let drew = false; // whether the click that follows was a corner
byId("picture").addEventListener("pointerdown", (event) => {
  drew = Boolean(drawing);
  if (!drawing) return;
  event.preventDefault();
  byId("picture").focus();
  byId("picture").setPointerCapture(event.pointerId);
  moveCursor(pointed(event));
  corner();
});
byId("picture").addEventListener("pointermove", (event) => {
  if (!drawing) return;
  moveCursor(pointed(event));
  paint();
});
byId("picture").addEventListener("pointerup", (event) => {
  if (drawing?.shape !== "rectangle" || !drawing.corners.length) return;
  moveCursor(pointed(event));
  const [[x, y]] = drawing.corners;
  const moved = Math.hypot(drawing.cursor[0] - x, drawing.cursor[1] - y);
  if (moved > Math.max(drawing.width, drawing.height) / 100) corner(); // dragged, not clicked
});
byId("picture").addEventListener("click", (event) => {
  if (drew || !view) return;
  const [x, y] = pointed(event);
  const there = shownRegions.filter((r) => x >= r.x && x < r.x + r.width && y >= r.y && y < r.y + r.height);
  if (there.length) choose(there.reduce((a, b) => (b.area < a.area ? b : a)));
});
byId("picture").addEventListener("keydown", (event) => {
  if (!drawing) return;
  const step = event.shiftKey ? 1 : Math.ceil(Math.max(drawing.width, drawing.height) / 50);
  const way = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
  if (way) moveCursor([drawing.cursor[0] + way[0], drawing.cursor[1] + way[1]]);
  else if (event.key === "Escape") drawing = null;
  else if (event.key !== "Enter") return;
  event.preventDefault();
  if (event.key === "Enter") return corner();
  showPlaces();
  paint();
});
