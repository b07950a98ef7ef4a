"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const rows = data.rows.map((row, index) => ({ ...row, index }));
const scored = rows.filter((row) => row.score !== null);
const truthKnown = scored.some((row) => row.truth !== null);
const state = {
  threshold: data.threshold,
  category: data.categories.length === 1 ? "0" : "",
  verdict: "",
  text: "",
  key: "score",
  descending: true,
  gallery: true,
};

const $ = (id) => document.getElementById(id);

/** An element with attributes and children; text stays text. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") element.className = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

function drawn(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** A link as one reads it; one that is not UTF-8 stays as it is. */
function decodeLink(link) {
  try {
    return decodeURI(link);
  } catch {
    return link;
  }
}

const percent = (value) => (value === null || value === undefined ? "–" : (100 * value).toFixed(1));
const three = (value) => (value === null ? "–" : value.toFixed(3));

/* ---- what a row is at the threshold ---- */

const VERDICTS = {
  found: "found",
  missed: "missed",
  alarm: "false alarm",
  passed: "passed",
  "anomalous-label": "anomalous",
  "normal-label": "normal",
  failed: "not read",
};

function verdict(row) {
  if (row.score === null) return "failed";
  const flagged = row.score >= state.threshold;
  if (row.truth === null) return flagged ? "anomalous-label" : "normal-label";
  if (row.truth) return flagged ? "found" : "missed";
  return flagged ? "alarm" : "passed";
}

function inCategory(row) {
  if (state.category === "") return true;
  const { dataset, name } = data.categories[state.category];
  return row.dataset === dataset && row.category === name;
}

function count() {
  const counts = { all: 0 };
  for (const key of Object.keys(VERDICTS)) counts[key] = 0;
  for (const row of rows) {
    if (!inCategory(row)) continue;
    counts.all += 1;
    counts[verdict(row)] += 1;
  }
  return counts;
}

/* ---- the line with the slider ---- */

function showCounts(counts) {
  const number = (text, value) => make("span", {}, make("b", {}, String(value)), ` ${text}`);
  const parts = [];
  if (truthKnown) {
    const cell = (name, value) => make("td", { class: name, "data-cell": name }, make("b", {}, String(value)));
    const head = (text) => make("th", { scope: "col" }, text);
    const side = (text) => make("th", { scope: "row" }, text);
    parts.push(
      make("table", { class: "matrix" },
        make("tr", {}, make("td", { style: "border:0" }), head("called anomalous"), head("called normal")),
        make("tr", {}, side("is anomalous"), cell("found", counts.found), cell("missed", counts.missed)),
        make("tr", {}, side("is normal"), cell("alarm", counts.alarm), cell("passed", counts.passed))),
    );
    const ratio = (above, below) => (below > 0 ? percent(above / below) + " %" : "–");
    parts.push(number("precision", ratio(counts.found, counts.found + counts.alarm)));
    parts.push(number("recall", ratio(counts.found, counts.found + counts.missed)));
    parts.push(number("F1", ratio(2 * counts.found, 2 * counts.found + counts.alarm + counts.missed)));
  } else {
    parts.push(number("anomalous", counts["anomalous-label"]), number("normal", counts["normal-label"]));
  }
  if (counts.failed > 0) parts.push(number("not read", counts.failed));
  $("counts").replaceChildren(...parts);
}

/* ---- charts ---- */

const WIDTH = 320, HEIGHT = 220, LEFT = 34, BOTTOM = 28, TOP = 8, RIGHT = 8;
const atX = (x) => LEFT + x * (WIDTH - LEFT - RIGHT);
const atY = (y) => HEIGHT - BOTTOM - y * (HEIGHT - BOTTOM - TOP);

function axes(xLabel, yLabel, yTicks) {
  const parts = [];
  for (const x of [0, 0.25, 0.5, 0.75, 1]) {
    parts.push(drawn("line", { class: "grid", x1: atX(x), x2: atX(x), y1: atY(0), y2: atY(1) }));
    parts.push(drawn("text", { x: atX(x), y: atY(0) + 13, "text-anchor": "middle" }, String(x)));
  }
  for (const [y, label] of yTicks) {
    parts.push(drawn("line", { class: "grid", x1: atX(0), x2: atX(1), y1: atY(y), y2: atY(y) }));
    parts.push(drawn("text", { x: LEFT - 5, y: atY(y) + 4, "text-anchor": "end" }, label));
  }
  parts.push(drawn("text", { x: atX(0.5), y: HEIGHT - 2, "text-anchor": "middle" }, xLabel));
  parts.push(drawn("text", { x: 9, y: atY(0.5), "text-anchor": "middle", transform: `rotate(-90 9 ${atY(0.5)})` }, yLabel));
  return parts;
}

function chart(title, note, label, parts) {
  const svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label }, ...parts);
  return make("div", { class: "chart" }, make("h2", {}, title), make("p", {}, ...note), svg);
}

const BINS = 50;

function histogram() {
  const kinds = truthKnown ? [["normal", false], ["anomalous", true]] : [["unknown", null]];
  const used = scored.filter(inCategory);
  const series = kinds.map(([name, truth]) => {
    const bins = new Array(BINS).fill(0);
    for (const row of used) if (row.truth === truth) bins[Math.min(BINS - 1, Math.floor(row.score * BINS))] += 1;
    return { name, bins };
  });
  const highest = Math.max(1, ...series.flatMap((s) => s.bins));
  const ticks = [[0, "0"], [1, String(highest)]];
  const parts = axes("score", "images", ticks);
  const half = (atX(1) - atX(0)) / BINS / series.length;
  series.forEach(({ name, bins }, s) => bins.forEach((n, i) => {
    if (n === 0) return;
    const x = atX(i / BINS) + s * half, y = atY(n / highest);
    parts.push(drawn("rect", { class: name, x, y, width: Math.max(half - 0.4, 0.6), height: atY(0) - y }));
  }));
  const x = atX(state.threshold);
  parts.push(drawn("line", { class: "mark", x1: x, x2: x, y1: atY(0), y2: atY(1) }));
  const key = (name, text) => [make("span", { class: "key", style: `background: var(--${name})` }), text];
  const note = truthKnown ? [...key("normal", "normal"), ...key("anomalous", "anomalous")] : ["all images"];
  return chart("Scores", note, "Histogram of scores", parts);
}

const path = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${atX(x).toFixed(1)} ${atY(y).toFixed(1)}`).join("");
const UNIT = [[0, "0"], [0.5, "0.5"], [1, "1"]];

function curve(title, note, xLabel, yLabel, points, point, others = [], limit = null) {
  const parts = axes(xLabel, yLabel, UNIT);
  if (limit !== null) parts.push(drawn("line", { class: "limit", x1: atX(limit), x2: atX(limit), y1: atY(0), y2: atY(1) }));
  for (const other of others) parts.push(drawn("path", { class: "other", d: path(other) }));
  if (points) parts.push(drawn("path", { class: "curve", d: path(points) }));
  if (point) parts.push(drawn("circle", { class: "point", cx: atX(point[0]), cy: atY(point[1]), r: 5 }));
  return chart(title, [note], title, parts);
}

function showCharts(counts) {
  const charts = [histogram()];
  const chosen = state.category === "" ? null : data.categories[state.category];
  const { roc, pr } = chosen ?? data;
  const image = chosen?.metrics.image, pixel = chosen?.metrics.pixel;
  const pooled = `pooled over ${data.categories.length} categories`;
  if (roc) {
    const fpr = counts.alarm / (counts.alarm + counts.passed), tpr = counts.found / (counts.found + counts.missed);
    const note = image ? `images, AUROC ${percent(image.auroc)} %` : `images, ${pooled}`;
    charts.push(curve("ROC", note, "false-positive rate", "true-positive rate", roc, [fpr, tpr]));
  }
  if (pr) {
    const flagged = counts.found + counts.alarm;
    const point = flagged > 0 ? [counts.found / (counts.found + counts.missed), counts.found / flagged] : null;
    const note = image ? `images, average precision ${percent(image.ap)} %` : `images, ${pooled}`;
    charts.push(curve("Precision and recall", note, "recall", "precision", pr, point));
  }
  const others = data.categories.map((c) => c.pro).filter((pro) => pro.length > 0);
  const pro = chosen && chosen.pro.length > 0 ? chosen.pro : null;
  if (pro || (!chosen && others.length > 0)) {
    const note = pixel ? `pixels, AUPRO up to 0.3: ${percent(pixel.aupro)} %` : "pixels, a line a category";
    charts.push(curve("Per-region overlap", note, "false-positive rate", "mean overlap", pro, pro && reached(pro), chosen ? [] : others, 0.3));
  }
  $("charts").replaceChildren(...charts);
}

/** Where the threshold lies on a curve whose points come from the highest threshold down. */
function reached(points) {
  let low = 0, high = points.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    const limit = points[middle][2];
    if (limit === null ? middle === 0 : limit >= state.threshold) low = middle;
    else high = middle - 1;
  }
  return points[low];
}

/* ---- metrics of an evaluation ---- */

function showMetrics() {
  if (data.categories.length === 0) return;
  const columns = [
    ["image AUROC", (m) => m.image.auroc], ["AP", (m) => m.image.ap], ["F1-max", (m) => m.image.f1_max],
    ["pixel AUROC", (m) => m.pixel.auroc], ["AP", (m) => m.pixel.ap], ["F1-max", (m) => m.pixel.f1_max], ["AUPRO", (m) => m.pixel.aupro],
  ];
  const several = new Set(data.categories.map((c) => c.dataset)).size > 1;
  const line = ({ metrics, dataset, name }, i) => make("tr", {},
    make("td", {}, make("button", { type: "button", onclick: () => choose(String(i)) }, several ? `${dataset} / ${name}` : name)),
    make("td", {}, String(metrics.normal)), make("td", {}, String(metrics.anomalous)),
    ...columns.map(([, of]) => make("td", {}, percent(of(metrics)))));
  const mean = (of) => {
    const values = data.categories.map((c) => of(c.metrics)).filter((v) => v !== null);
    return values.length ? values.reduce((a, b) => a + b) / values.length : null;
  };
  const last = data.categories.length < 2 || several ? [] : [make("tr", { class: "mean" },
    make("td", {}, make("button", { type: "button", onclick: () => choose("") }, "mean")), make("td"), make("td"),
    ...columns.map(([, of]) => make("td", {}, percent(mean(of)))))];
  const heads = ["category", "normal", "anomalous", ...columns.map(([name]) => name)];
  $("metrics").hidden = false;
  $("metrics").replaceChildren(make("div", { class: "panel scroll" }, make("table", {},
    make("thead", {}, make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)))),
    make("tbody", {}, ...data.categories.map(line), ...last))));
}

/* ---- pictures ---- */

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const SCALE = Array.from({ length: 256 }, (_, i) => [0, 2, 4].map((at) => parseInt(data.scale.substr(6 * i + at, 2), 16)));

function canvas(grid, paint) {
  const element = make("canvas", { width: grid.width, height: grid.height });
  const context = element.getContext("2d");
  const pixels = context.createImageData(grid.width, grid.height);
  const points = bytes(grid.points);
  for (let i = 0; i < grid.width * grid.height; i += 1) pixels.data.set(paint(points, i), 4 * i);
  context.putImageData(pixels, 0, 0);
  return element;
}

/** As the overlays of `detect`: below 0.1 the image is untouched. */
const heat = (points, i) => {
  const weight = 0.75 * Math.min(Math.max((points[i] / 255 - 0.1) / 0.5, 0), 1);
  return [...SCALE[points[i]], Math.round(255 * weight)];
};
const MASK = getComputedStyle(document.documentElement).getPropertyValue("--mask").split(",").map(Number);
const truth = (points, i) => ((points[i >> 3] >> (i & 7)) & 1 ? [...MASK, 190] : [0, 0, 0, 0]);

function tile(row, label, layer) {
  const image = make("img", { src: `data:image/jpeg;base64,${row.image}`, alt: label, decoding: "async" });
  return make("div", { class: "tile", title: label }, make("div", { class: "frame" }, image, layer));
}

function tiles(row) {
  if (!row.image) return make("div", { class: "tiles" });
  const pictures = [tile(row, "image", null), tile(row, "anomaly map", canvas(row.map, heat))];
  if (row.mask) {
    const mask = canvas(row.mask, truth);
    mask.className = "points";
    pictures.push(tile(row, "true mask", mask));
  } else if (row.truth !== null) {
    pictures.push(make("div", { class: "tile none" }, row.truth ? "no mask" : "no defect"));
  }
  return make("div", { class: "tiles" }, ...pictures);
}

function enlarge(row) {
  const fact = (name, value) => (value === null || value === "" ? null : make("div", {}, make("dt", {}, name), make("dd", {}, value)));
  const label = verdict(row);
  $("large-body").replaceChildren(
    make("h2", {}, row.path), tiles(row),
    make("dl", {},
      fact("score", three(row.score)), fact("raw score", row.raw_score === row.score ? null : three(row.raw_score)), fact("verdict", make("span", { class: label }, VERDICTS[label])),
      fact("map maximum", row.max === null ? null : three(row.max)), fact("category", row.category), fact("defect", row.defect),
      fact("size", row.size && row.size.join(" x ")), fact("error", row.error),
      fact("overlay", row.overlay && make("a", { href: row.overlay }, decodeLink(row.overlay)))));
  $("large").showModal();
}

/* ---- gallery and table: filled as one scrolls ---- */

const COLUMNS = [
  ["path", "path", (row) => row.path, "path"],
  ["category", "category", (row) => row.category ?? "", ""],
  ["truth", "truth", (row) => (row.truth === null ? "" : row.truth ? row.defect ?? "anomalous" : "normal"), ""],
  ["score", "score", (row) => row.score ?? -1, "number"],
  ["max", "map max", (row) => row.max ?? -1, "number"],
  ["verdict", "verdict", (row) => VERDICTS[verdict(row)], ""],
].filter(([key]) => (key !== "category" || data.categories.length > 1) && (key !== "truth" || truthKnown));

let visible = [], filled = 0, badges = [];

function filter() {
  const text = state.text.toLowerCase();
  const wanted = (row) => inCategory(row)
    && (state.verdict === "" || (state.verdict === "wrong" ? ["missed", "alarm"].includes(verdict(row)) : verdict(row) === state.verdict))
    && row.path.toLowerCase().includes(text);
  const of = COLUMNS.find(([key]) => key === state.key)[2];
  const sign = state.descending ? -1 : 1;
  const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  visible = rows.filter(wanted).sort((a, b) => sign * compare(of(a), of(b)) || a.index - b.index);
  filled = 0;
  badges = [];
  $("gallery").replaceChildren();
  $("rows").replaceChildren();
  $("shown").textContent = `${visible.length} of ${rows.length} images`;
  fill();
}

function badge(row) {
  const element = make("span", {});
  badges.push([element, row]);
  mark(element, row);
  return element;
}

function mark(element, row) {
  const label = verdict(row);
  element.className = `verdict ${label}`;
  element.textContent = VERDICTS[label];
}

function card(row) {
  return make("button", { class: "card", type: "button", onclick: () => enlarge(row) }, tiles(row),
    make("span", { class: "about" }, make("b", {}, three(row.score)), badge(row), row.defect ? make("span", {}, row.defect) : null),
    make("span", { class: "name", title: row.path }, make("bdi", {}, row.path)));
}

function line(row) {
  const cell = ([key, , of, kind]) => {
    if (key === "verdict") return make("td", {}, badge(row));
    const value = kind === "number" ? three(row[key]) : of(row);
    return make("td", { class: kind }, value);
  };
  return make("tr", { onclick: () => enlarge(row) }, ...COLUMNS.map(cell));
}

function fill() {
  const next = visible.slice(filled, filled + (state.gallery ? 48 : 200));
  filled += next.length;
  if (state.gallery) $("gallery").append(...next.map(card));
  else $("rows").append(...next.map(line));
}

const more = new IntersectionObserver((entries) => {
  if (!entries.some((entry) => entry.isIntersecting) || filled >= visible.length) return;
  fill();
  // The mark may still be in sight, which would be no new intersection.
  more.unobserve($("more"));
  more.observe($("more"));
}, { rootMargin: "800px" });

/* ---- controls ---- */

function refresh() {
  const counts = count();
  $("value").textContent = state.threshold.toFixed(3);
  showCounts(counts);
  showCharts(counts);
}

function choose(category) {
  state.category = category;
  $("category").value = category;
  refresh();
  filter();
}

function sortBy(key, descending) {
  state.key = key;
  state.descending = descending;
  $("order").value = `${key} ${descending}`;
  for (const head of $("heads").children) {
    head.removeAttribute("aria-sort");
    if (head.dataset.key === key) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  }
  filter();
}

function view(gallery) {
  state.gallery = gallery;
  $("gallery").hidden = !gallery;
  $("list").hidden = gallery;
  $("show-gallery").setAttribute("aria-pressed", String(gallery));
  $("show-table").setAttribute("aria-pressed", String(!gallery));
  filter();
}

let due = false;
function moved() {
  state.threshold = Number($("threshold").value);
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    refresh();
    if (state.verdict !== "" || state.key === "verdict") filter();
    else for (const [element, row] of badges) mark(element, row);
  });
}

function start() {
  document.title = `${data.title} – fe-clip report`;
  $("title").textContent = data.title;
  const facts = [...data.facts, ["images", String(rows.length)]];
  $("facts").replaceChildren(...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));

  const option = (value, text) => make("option", { value }, text);
  $("category").append(option("", "all"), ...data.categories.map((c, i) => option(String(i), `${c.dataset} / ${c.name}`)));
  $("category").closest("label").hidden = data.categories.length < 2;
  const kinds = truthKnown ? ["found", "missed", "alarm", "passed"] : ["anomalous-label", "normal-label"];
  if (rows.length > scored.length) kinds.push("failed");
  $("verdict").append(option("", "all"), ...(truthKnown ? [option("wrong", "wrong ones")] : []),
    ...kinds.map((kind) => option(kind, VERDICTS[kind])));
  for (const [key, text] of COLUMNS) {
    const numeric = key === "score" || key === "max";
    const orders = numeric ? [[true, "highest"], [false, "lowest"]] : [[false, "A to Z"], [true, "Z to A"]];
    $("order").append(...orders.map(([descending, word]) => option(`${key} ${descending}`, `${text}, ${word}`)));
    const turn = () => sortBy(key, state.key === key ? !state.descending : numeric);
    $("heads").append(make("th", { scope: "col", "data-key": key, class: numeric ? "number" : "" },
      make("button", { type: "button", onclick: turn }, text)));
  }

  $("threshold").value = String(state.threshold);
  $("threshold").addEventListener("input", moved);
  $("category").addEventListener("change", (event) => choose(event.target.value));
  $("verdict").addEventListener("change", (event) => { state.verdict = event.target.value; filter(); });
  $("text").addEventListener("input", (event) => { state.text = event.target.value; filter(); });
  $("order").addEventListener("change", (event) => {
    const [key, descending] = event.target.value.split(" ");
    sortBy(key, descending === "true");
  });
  $("show-gallery").addEventListener("click", () => view(true));
  $("show-table").addEventListener("click", () => view(false));
  $("close").addEventListener("click", () => $("large").close());
  $("large").addEventListener("click", (event) => { if (event.target === $("large")) $("large").close(); });

  showMetrics();
  refresh();
  sortBy(state.key, state.descending);
  more.observe($("more"));
  performance.mark("ready");
}

start();
