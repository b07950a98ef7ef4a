// The page itself: what is chosen, what is shown.

const byId = (id) => document.getElementById(id);
// { file, entry, button, plain, compared, grouped, error, version }: results alone, with examples,
// among all; which places the first two are of
const items = [];
let normals = []; // files
let current = null;
let asked = null; // the files that are being compared with each other
let view = null; // what the picture shows: { item, result, bitmap, heat }
let region = null;
let shownRegions = []; // those in the list

const say = (words) => (byId("status").textContent = words);
const threshold = () => Number(byId("threshold").value);
const using = () => normals.length > 0 && byId("use-normals").checked;
const grouping = () => items.length >= SMALLEST_GROUP && byId("use-group").checked;
const resultOf = (item) => (item.live ? item.plain : grouping() ? item.grouped : using() ? item.compared : item.plain);

// Judging: two images at a time, every image without the examples first.
const waiting = [];
let running = 0;

function judge(item) {
  if (!waiting.includes(item)) waiting.push(item);
  while (running < 2 && waiting.length) {
    running++;
    work(waiting.shift()).finally(() => {
      running--;
      if (waiting.length) judge(waiting.shift());
      else if (!running) say(summary());
    });
  }
}

async function work(item) {
  const [examples, version] = [normals, places.version];
  const changed = () => examples !== normals || version !== places.version;
  try {
    item.error = null;
    const size = item.plain ?? (await sizeOf(item.file));
    const plain = item.version === version && item.plain;
    // Shapes hold for images of one size: where that is not known yet, the first answer tells it.
    let found = plain || (await detect(item.file, [], size && placesFor(size.width, size.height)));
    const where = placesFor(found.width, found.height);
    if (!size && where) found = await detect(item.file, [], where);
    if (changed()) return judge(item);
    if (!plain) Object.assign(item, { plain: found, compared: null, version });
    refresh(item);
    if (examples.length && !item.compared) {
      const compared = await detect(item.file, examples, where);
      if (changed()) return judge(item);
      normalsId = compared.normals.id;
      item.compared = compared;
    }
  } catch (error) {
    item.error = error.message;
    if (error.status === 401) {
      byId("token-form").hidden = false;
      byId("token").focus();
    }
  }
  refresh(item);
}

// Compares all images with each other, again whenever there are more.
async function compare() {
  byId("grouping").hidden = items.length < SMALLEST_GROUP;
  if (!grouping()) return items.forEach(refresh);
  const group = (asked = [...items]);
  for (const item of group) item.grouped = null;
  group.forEach(refresh);
  say(`Comparing ${group.length} images with each other …`);
  try {
    const found = await detectGroup(group.map((item) => item.file));
    if (asked !== group) return; // others have come meanwhile
    group.forEach((item, i) => (found[i].error ? (item.error = found[i].error) : (item.grouped = found[i])));
    say(`${group.length} images compared with each other, the oddest first.`);
  } catch (error) {
    if (asked !== group) return;
    byId("use-group").checked = false;
    say(error.message);
  }
  group.forEach(refresh);
  if (grouping()) {
    const order = [...items].sort((a, b) => (b.grouped?.score ?? -1) - (a.grouped?.score ?? -1));
    byId("images").append(...order.map((item) => item.entry));
    select(order[0]);
  }
}

function summary() {
  const failed = items.filter((item) => item.error).length;
  const judged = items.length - failed;
  const words = `${judged} ${judged === 1 ? "image" : "images"} judged`;
  return failed ? `${words}, ${failed} could not be.` : `${words}.`;
}

function addImages(files) {
  const added = [...files].map((file) => {
    const item = { file, plain: null, compared: null, grouped: null, error: null, version: places.version };
    item.button = document.createElement("button");
    item.button.type = "button";
    const name = document.createElement("span");
    name.className = "name";
    name.textContent = file.name;
    item.number = document.createElement("span");
    item.number.className = "number";
    item.number.textContent = "…";
    item.button.append(thumbnail(file), name, item.number);
    item.button.addEventListener("click", () => select(item));
    item.entry = document.createElement("li");
    item.entry.append(item.button);
    byId("images").append(item.entry);
    items.push(item);
    return item;
  });
  if (!added.length) return;
  say(added.length === 1 ? `Looking at ${added[0].file.name} …` : `Looking at ${added.length} images …`);
  added.forEach(judge);
  select(added[0]);
  compare();
}

function setNormals(files) {
  normals = files.slice(0, 16);
  normalsId = null;
  byId("normals").replaceChildren(...normals.map((file) => {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", `Remove the normal image ${file.name}`);
    button.append(thumbnail(file));
    button.addEventListener("click", () => setNormals(normals.filter((other) => other !== file)));
    const entry = document.createElement("li");
    entry.append(button);
    return entry;
  }));
  byId("remove-normals").hidden = byId("compare").hidden = normals.length === 0;
  byId("use-normals").checked = true;
  for (const item of items) {
    item.compared = null;
    refresh(item);
    if (normals.length) judge(item);
  }
  if (items.length && normals.length) say("Comparing with the normal examples …");
}

// Brings an image's line, and the picture if it shows this image, up to date.
function refresh(item) {
  const result = resultOf(item);
  item.number.textContent = item.error ? "failed" : result ? result.score.toFixed(3) : "…";
  item.number.classList.toggle("failed", Boolean(item.error));
  if (item === current) show();
}

function select(item) {
  current?.button.removeAttribute("aria-current");
  current = item;
  region = null;
  drawing = null;
  if (held) hold(false);
  item.button.setAttribute("aria-current", "true");
  show();
}

async function show() {
  const item = current;
  const result = resultOf(item);
  byId("shown").hidden = !result;
  byId("result-title").textContent = `${item.live ? "Live from" : "Result for"} ${item.file.name}`;
  showLive();
  if (item.error) say(item.error);
  if (!result) return;
  if (view?.result !== result) {
    const kept = item.live ? item.bitmap : view?.item === item ? view.bitmap : null;
    const bitmap = kept ?? (await createImageBitmap(item.file).catch(() => null));
    if (current !== item || resultOf(item) !== result) return; // another choice came in between
    if (view && view.bitmap !== bitmap && !view.item.live) view.bitmap?.close();
    view = { item, result, bitmap, heat: heatLayer(result.map) };
    region = null;
  }
  byId("picture-note").hidden = Boolean(view.bitmap);
  byId("picture-note").textContent = "This browser cannot show the image; the heat map is drawn on grey.";
  showPlaces();
  const other = !item.live && (grouping() || using()) ? item.plain : null;
  const without = grouping() ? "alone" : "without the normal examples";
  byId("change").textContent = item.live ? momentOf(result) : other ? `${without} ${other.score.toFixed(3)}` : "";
  update();
}

// Everything that the sliders change.
function update() {
  if (!view) return;
  const { result } = view;
  const level = threshold();
  const anomalous = result.score >= level;
  byId("score").textContent = result.score.toFixed(3);
  const label = view.item.live && gone ? "no picture" : anomalous ? "anomalous" : "normal";
  byId("label").textContent = label;
  byId("label").className = `label ${label === "no picture" ? "failed" : label}`;
  byId("threshold-value").textContent = level.toFixed(2);
  byId("opacity-value").textContent = `${byId("opacity").value} %`;
  const found = findRegions(result.map, level, result.width, result.height);
  if (!found.some((r) => same(r, region))) region = null;
  listRegions(found);
  paint();
  byId("picture").setAttribute("aria-label",
    `${view.item.file.name} with its heat map: ${found.length} ${found.length === 1 ? "region" : "regions"} at or above ${level.toFixed(2)}, highest value ${result.map_max.toFixed(3)}`);
}

const same = (a, b) => Boolean(a && b) && a.x === b.x && a.y === b.y && a.peak === b.peak;

function paint() {
  draw(byId("picture"), { ...view, threshold: threshold(), opacity: byId("opacity").value / 100, region }, shownSide(view.result));
}

// Points a region out, or no longer.
function choose(chosen) {
  region = same(chosen, region) ? null : chosen;
  const rows = [...byId("regions").querySelectorAll("tr")];
  shownRegions.forEach((r, i) => {
    rows[i].className = same(r, region) ? "chosen" : "";
    rows[i].querySelector("button").setAttribute("aria-pressed", String(same(r, region)));
  });
  paint();
}

function listRegions(found) {
  shownRegions = found.slice(0, 100);
  byId("no-regions").hidden = found.length > 0;
  byId("regions-box").hidden = found.length === 0;
  byId("regions").replaceChildren(...shownRegions.map((r, i) => {
    const row = document.createElement("tr");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = i + 1;
    button.setAttribute("aria-label", `Region ${i + 1}`);
    button.setAttribute("aria-pressed", String(same(r, region)));
    row.addEventListener("click", () => choose(r));
    row.className = same(r, region) ? "chosen" : "";
    const cells = [button, r.peak.toFixed(3), `${r.area} px`, `${r.x}, ${r.y}; ${r.width} × ${r.height}`];
    row.append(...cells.map((content) => {
      const cell = document.createElement("td");
      cell.append(content);
      return cell;
    }));
    return row;
  }));
}

// Ways in.
function picker(button, input, take) {
  byId(button).addEventListener("click", () => byId(input).click());
  byId(input).addEventListener("change", (event) => {
    take([...event.target.files]);
    event.target.value = "";
  });
}
picker("choose", "files", addImages);
picker("photograph", "camera", addImages);
picker("choose-normals", "normal-files", (files) => setNormals([...normals, ...files]));
byId("remove-normals").addEventListener("click", () => {
  setNormals([]);
  byId("choose-normals").focus();
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) addImages(event.clipboardData.files);
});
const dropZone = (event) => byId(event.target.closest?.("#normals-drop") ? "normals-drop" : "images-drop");
const lit = (zone) => document.querySelectorAll(".drop").forEach((drop) => drop.classList.toggle("over", drop === zone));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  lit(dropZone(event));
});
document.addEventListener("dragleave", (event) => event.relatedTarget || lit(null));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  lit(null);
  const files = [...event.dataTransfer.files];
  if (dropZone(event).id === "normals-drop") setNormals([...normals, ...files]);
  else addImages(files);
});

// Controls.
byId("threshold").value = THRESHOLD;
byId("threshold").addEventListener("input", update);
byId("opacity").addEventListener("input", update);
byId("use-group").addEventListener("change", compare);
byId("use-normals").addEventListener("change", () => items.forEach(refresh));
byId("save-png").addEventListener("click", () => {
  const canvas = document.createElement("canvas");
  draw(canvas, { ...view, threshold: threshold(), opacity: byId("opacity").value / 100, region }, Math.max(view.result.width, view.result.height));
  canvas.toBlob((blob) => offer(`${view.item.file.name}_overlay.png`, blob), "image/png");
});
const records = () => [...items, ...(current?.live ? [current] : [])].map((item) => record(item, resultOf(item), threshold()));
byId("save-json").addEventListener("click", () =>
  offer("results.json", new Blob([JSON.stringify(records(), null, 2)], { type: "application/json" })));
byId("save-csv").addEventListener("click", () => offer("results.csv", new Blob([csv(records())], { type: "text/csv" })));
byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byId("token").value;
  byId("token-form").hidden = true;
  greet();
  items.filter((item) => item.error).forEach(judge);
});

const scale = byId("scale").getContext("2d");
COLOURS.forEach(([r, g, b], x) => {
  scale.fillStyle = `rgb(${r} ${g} ${b})`;
  scale.fillRect(x, 0, 1, 1);
});

// Which model it is, and whether a token is asked for.
async function greet() {
  try {
    const { models: [model], camera: name } = await ask("v1/models");
    byId("model").textContent = `Model ${model.id}, ${model.image_size} × ${model.image_size} pixels`;
    if (name) addCamera(name);
  } catch (error) {
    if (error.status === 401) byId("token-form").hidden = false;
    else say(error.message);
  }
}
greet();
