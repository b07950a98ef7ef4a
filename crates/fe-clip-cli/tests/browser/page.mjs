// Drives the page of `fe-clip serve` in Chromium, as a person would.
// Usage: see docs/serve.md. Environment: FE_CLIP, the program (default target/release/fe-clip);
// CHROMIUM, the browser (default /usr/bin/chromium). Pictures go to out/.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const here = dirname(fileURLToPath(import.meta.url));
const program = resolve(process.env.FE_CLIP ?? join(here, "../../../../target/release/fe-clip"));
const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const out = join(here, "out");
mkdirSync(out, { recursive: true });
const folder = mkdtempSync(join(tmpdir(), "fe-clip-page-"));
// A picture of one's own in place of drawn ones: PARTS=folder in the layout of `synth`.
const parts = process.env.PARTS ?? join(folder, "parts");
if (!process.env.PARTS) {
  execFileSync(program, ["synth", "--out", parts, "--categories", "gear", "--size", "400",
    "--train-normal", "4", "--test-normal", "1", "--test-per-defect", "1"]);
}
const category = join(parts, readdirSync(parts).find((name) => existsSync(join(parts, name, "test"))));
const images = (sub) => readdirSync(join(category, sub)).sort().map((name) => join(category, sub, name));
const kinds = readdirSync(join(category, "test")).filter((kind) => kind !== "good").sort();
const [damaged] = images(join("test", kinds[0]));
const [good] = images(join("test", "good"));
const normals = images(join("train", "good"));

async function serve(flags) {
  const server = spawn(program, ["serve", "--addr", "127.0.0.1:0", ...flags], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  const url = await new Promise((found, failed) => {
    server.on("exit", () => failed(new Error(said)));
    server.stderr.on("data", (text) => {
      said += text;
      const address = /listening on (\S+)/.exec(said);
      if (address && said.includes("ready")) found(address[1]);
    });
  });
  const ended = new Promise((done) => server.on("exit", done));
  return { url, stop: () => server.kill("SIGTERM") && ended };
}

// Drops or pastes files, as the browser would report it.
async function give(page, target, kind, paths) {
  const files = paths.map((path) => ({ name: path.split("/").pop(), base64: readFileSync(path).toString("base64") }));
  await page.evaluate(async ({ target, kind, files }) => {
    const data = new DataTransfer();
    for (const { name, base64 } of files) {
      const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
      data.items.add(new File([bytes], name, { type: "image/png" }));
    }
    const event = kind === "paste"
      ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true })
      : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
    document.querySelector(target).dispatchEvent(event);
  }, { target, kind, files });
}

const pixels = (page) => page.evaluate(() => {
  const canvas = document.getElementById("picture");
  return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data].reduce((h, v, i) => (h * 31 + v * (i % 97)) % 1e9, 7);
});
const slide = (page, id, value) => page.evaluate(([id, value]) => {
  const slider = document.getElementById(id);
  slider.value = value;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
}, [id, value]);
const text = (page, id) => page.textContent(`#${id}`);
const idle = (page) => page.waitForFunction(() => /judged|could not/.test(document.getElementById("status").textContent), null, { timeout: 60000 });

async function accessible(page, what) {
  if (!(await page.evaluate(() => Boolean(globalThis.axe)))) {
    // As the browser's own tools do: past the page's policy, which lets no other script in.
    const session = await page.context().newCDPSession(page);
    await session.send("Runtime.evaluate", { expression: readFileSync(axe, "utf8") });
  }
  const { violations, passes } = await page.evaluate(() => globalThis.axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  }));
  const words = violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.html).join(" | ")}`);
  assert.deepEqual(words, [], `${what}: ${words.join("\n")}`);
  console.log(`accessible: ${what} (${passes.length} rules passed)`);
}

// Draws where to look by mouse and keys; the answers are those of the program for the same files.
async function drawn(page, whole) {
  const at = async (x, y) => {
    const box = await page.locator("#picture").boundingBox();
    return [box.x + (x / whole.width) * box.width, box.y + (y / whole.height) * box.height];
  };
  const save = async (kind) => {
    const [file] = await Promise.all([page.waitForEvent("download"), page.click(`#save-${kind}`)]);
    const path = join(folder, `${kind}.json`);
    await file.saveAs(path);
    return path;
  };
  const same = async (flags) => {
    await idle(page);
    const found = JSON.parse(execFileSync(program, ["detect", damaged, "--format", "jsonl", ...flags]));
    assert.equal(await text(page, "score"), found.score.toFixed(3));
    const most = await page.evaluate(() => view.result.map_max);
    assert.ok(Math.abs(most - found.map_max) < 1e-5, `${most} ${found.map_max}`);
    return found;
  };
  await page.locator("#regions tr.chosen button").click();
  const before = await pixels(page);

  // A rectangle is dragged; what lies outside is not looked at.
  await page.click("#draw-roi");
  assert.match(await text(page, "places-note"), /Drag a rectangle/);
  await accessible(page, "while drawing");
  await page.locator("#picture").scrollIntoViewIfNeeded();
  await page.mouse.move(...(await at(20, 30)));
  await page.mouse.down();
  await page.mouse.move(...(await at(200, 350)), { steps: 5 });
  await page.mouse.up();
  assert.equal(await text(page, "status"), "Looking again …");
  await idle(page);
  const roi = await save("roi");
  const [box] = JSON.parse(readFileSync(roi)).polygons;
  const near = (found, [x, y]) => Math.hypot(found[0] - x, found[1] - y) <= 2;
  assert.ok(near(box[0], [20, 30]) && near(box[2], [200, 350]), JSON.stringify(box));
  await same(["--roi", roi]);
  assert.notEqual(await pixels(page), before);
  const outside = await page.evaluate(() => shownRegions.filter((r) => r.x + r.width > 210));
  assert.deepEqual(outside, []);

  // A polygon by keys, of what is not looked at.
  await page.selectOption("#shape", "polygon");
  await page.click("#draw-ignore");
  for (const keys of ["Enter", "ArrowLeft ArrowLeft ArrowLeft ArrowLeft Enter", "ArrowUp ArrowUp ArrowUp ArrowUp Shift+ArrowUp Enter"]) {
    for (const key of keys.split(" ")) await page.keyboard.press(key);
  }
  await page.screenshot({ path: join(out, "drawing.png"), fullPage: true });
  await page.click("#close-shape");
  await idle(page);
  const ignore = await save("ignore");
  const [x, y] = [whole.width / 2, whole.height / 2];
  const step = Math.ceil(Math.max(whole.width, whole.height) / 50);
  assert.deepEqual(JSON.parse(readFileSync(ignore)), { polygons: [[[x, y], [x - 4 * step, y], [x - 4 * step, y - 4 * step - 1]]] });
  const both = await same(["--roi", roi, "--ignore", ignore]);
  await accessible(page, "with places");
  await page.screenshot({ path: join(out, "places.png"), fullPage: true });
  const [file] = await Promise.all([page.waitForEvent("download"), page.click("#save-json")]);
  const [record] = JSON.parse(readFileSync(await file.path()));
  assert.ok(Math.abs(record.score - both.score) < 1e-6);
  assert.equal(record.looked_at.ignore.length, 1);

  // Taken back one after the other.
  await page.click("#remove-last");
  await same(["--roi", roi]);
  await page.click("#draw-roi");
  await page.keyboard.press("Escape");
  assert.equal(await page.getAttribute("#draw-roi", "aria-pressed"), "false");
  await page.click("#remove-places");
  await same([]);
  assert.equal(await pixels(page), before);
  console.log("drawn: a rectangle by mouse, a polygon by keys");
}

const freePort = () => new Promise((found) => {
  const socket = createServer().listen(0, "127.0.0.1", () => {
    const { port } = socket.address();
    socket.close(() => found(port));
  });
});

// The camera: a stream of the damaged and the good part, which goes and comes back.
async function watched(browser) {
  try {
    execFileSync("ffmpeg", ["-version"], { stdio: "ignore" });
  } catch {
    return console.log("the camera: SKIPPED, no ffmpeg: apt-get install ffmpeg");
  }
  const clip = join(folder, "clip.ts");
  const still = (path) => ["-loop", "1", "-framerate", "25", "-t", "2", "-i", path];
  const moving = "crop=iw*0.9:ih*0.7:iw*0.05*(1+sin(3*t)):ih*0.15*(1+cos(2*t)),scale=640:480";
  execFileSync("ffmpeg", ["-loglevel", "error", ...still(damaged), ...still(good), "-filter_complex",
    `[0][1]concat,${moving},format=yuv420p`, "-c:v", "mpeg2video", "-b:v", "6M", "-g", "5", clip]);
  const port = await freePort();
  let child = null;
  const stream = {
    start: () => (child = spawn("ffmpeg", ["-loglevel", "error", "-re", "-stream_loop", "-1", "-i", clip, "-c", "copy",
      "-f", "mpegts", "-listen", "1", `http://127.0.0.1:${port}`], { stdio: "ignore" })),
    end: () => child?.kill("SIGKILL"),
  };
  const server = await serve(["--camera", `http://me:secret@127.0.0.1:${port}/line`]);
  try {
    await live(browser, { port, stream, server });
  } finally {
    stream.end();
    await server.stop();
  }
  console.log("the camera: live, held, gone, back");
}

async function live(browser, { port, stream, server }) {
  const says = (page, words) => page.waitForFunction(
    (words) => document.getElementById("live-note").textContent.includes(words), words, { timeout: 60000, polling: 100 });
  const changes = async (page, tenths = 300) => {
    const before = await pixels(page);
    for (let i = 0; i < tenths; i++) {
      await page.waitForTimeout(100);
      if ((await pixels(page)) !== before) return true;
    }
    return false;
  };

  const context = await browser.newContext({ viewport: { width: 1200, height: 1000 }, colorScheme: "light" });
  const page = await context.newPage();
  const trouble = [];
  page.on("console", (message) => message.type() === "error" && trouble.push(message.text()));
  page.on("pageerror", (error) => trouble.push(String(error)));
  await page.goto(server.url);
  // It is not there yet.
  await says(page, "gone and looked for");
  assert.equal(await text(page, "live-name"), `http://127.0.0.1:${port}/line`);
  assert.equal(await page.isVisible("#shown"), false);
  stream.start();
  await says(page, "Live.");
  assert.equal(await page.isVisible("#shown"), true);
  assert.ok(await changes(page), "the picture is live");
  assert.equal(await page.isVisible("#places"), false);
  // The verdict is that of the slider, and of the server where that stands at its threshold.
  const verdict = await page.evaluate(() => ({
    shown: [byId("score").textContent, byId("label").textContent, byId("live-number").textContent],
    told: [view.result.score.toFixed(3), view.result.label, view.result.score.toFixed(3)],
  }));
  assert.deepEqual(verdict.shown, verdict.told);
  await slide(page, "threshold", 0);
  await page.waitForFunction(() => byId("label").textContent === "anomalous");
  await slide(page, "threshold", 1);
  await page.waitForFunction(() => byId("label").textContent === "normal");

  // Held, it stays as it is; a second page goes on.
  const second = await context.newPage();
  await second.goto(server.url);
  await says(second, "Live.");
  await page.click("#hold");
  assert.equal(await page.getAttribute("#hold", "aria-pressed"), "true");
  await page.waitForTimeout(300);
  assert.equal(await changes(page, 20), false, "held");
  assert.ok(await changes(second), "live for the other one");
  await accessible(page, "a live picture that is held");
  await page.click("#hold");
  assert.ok(await changes(page), "no longer held");

  // A picture for the manual: a frame with a defect.
  await slide(second, "threshold", await second.evaluate(() => THRESHOLD));
  await second.bringToFront();
  await second.waitForFunction(() => view.result.label === "anomalous" && shownRegions.length > 0, null, { timeout: 60000, polling: 100 });
  await second.click("#hold");
  await second.screenshot({ path: join(out, "camera.png"), fullPage: true });
  await second.close();
  await page.bringToFront();

  // An image of one's own in between.
  await give(page, "#images-drop", "drop", [good]);
  await idle(page);
  assert.match(await text(page, "result-title"), /^Result for/);
  assert.equal(await page.isVisible("#hold"), false);
  await page.click("#live");
  assert.match(await text(page, "result-title"), /^Live from/);
  assert.ok(await changes(page), "live again");

  // It goes away, which is seen, and comes back.
  stream.end();
  await says(page, "gone and looked for");
  assert.equal(await text(page, "label"), "no picture");
  assert.equal(await page.locator("#picture.gone").count(), 1);
  await accessible(page, "a camera that is gone");
  await page.screenshot({ path: join(out, "camera-gone.png"), fullPage: true });
  stream.start();
  await says(page, "Live.");
  assert.equal(await page.locator("#picture.gone").count(), 0);
  assert.ok(await changes(page), "back");
  assert.deepEqual(trouble, []);

  // So may the server.
  await page.setViewportSize({ width: 360, height: 740 });
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 360, `${width} pixels wide`);
  await server.stop();
  await says(page, "cannot be reached");
  await context.close();
}

const server = await serve([]);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
try {
  const context = await browser.newContext({ viewport: { width: 1200, height: 1000 }, colorScheme: "light" });
  const page = await context.newPage();
  const trouble = [];
  page.on("console", (message) => message.type() === "error" && trouble.push(message.text()));
  page.on("pageerror", (error) => trouble.push(String(error)));
  const asked = [];
  page.on("request", (request) => asked.push(request.url()));
  await page.goto(server.url);
  await page.waitForFunction(() => document.getElementById("model").textContent.includes("tiny"));
  await accessible(page, "the empty page");

  // Drop an image, see its score and heat map.
  await give(page, "#images-drop", "drop", [damaged]);
  await idle(page);
  assert.equal(await page.isVisible("#shown"), true);
  const score = Number(await text(page, "score"));
  assert.ok(score > 0 && score <= 1, `score ${score}`);
  const answer = JSON.parse(execFileSync(program, ["detect", damaged, "--format", "jsonl"]));
  assert.equal(await text(page, "score"), answer.score.toFixed(3));

  // The slider of the heat map changes the picture; at 0 the image is bare.
  await slide(page, "threshold", 1);
  const full = await pixels(page);
  await slide(page, "opacity", 0);
  const bare = await pixels(page);
  assert.notEqual(full, bare);
  await slide(page, "opacity", 75);
  assert.equal(await pixels(page), full);

  // The threshold's slider changes regions and label; the regions are the server's.
  const sent = readFileSync(damaged);
  for (const level of ["0.1", "0.25", "0.37", "0.5"]) {
    await slide(page, "threshold", level);
    const response = await fetch(`${server.url}/v1/detect?threshold=${level}`, { method: "POST", headers: { "content-type": "image/png" }, body: sent });
    const { regions, label } = await response.json();
    assert.equal(await text(page, "label"), label);
    const found = await page.evaluate(() => {
      const { result } = view;
      return findRegions(result.map, threshold(), result.width, result.height);
    });
    const order = (list) => list.map((r) => JSON.stringify([Math.fround(r.peak), r.x, r.y, r.width, r.height, r.area])).sort();
    assert.deepEqual(order(found), order(regions), `regions at ${level}`);
    const rows = await page.locator("#regions tr").count();
    assert.equal(rows, Math.min(found.length, 100));
    console.log(`threshold ${level}: ${found.length} regions, ${label}`);
  }

  // A region is pointed out by a key press.
  await slide(page, "threshold", Math.min(0.95, answer.map_max * 0.6).toFixed(2));
  const before = await pixels(page);
  await page.focus("#regions button");
  await page.keyboard.press("Enter");
  assert.equal(await page.getAttribute("#regions button", "aria-pressed"), "true");
  assert.notEqual(await pixels(page), before);

  // It is chosen in the picture, too, and no longer.
  const spot = async () => {
    const [box, { x, y, width, height }, size] = await page.evaluate(() => [
      document.getElementById("picture").getBoundingClientRect().toJSON(), shownRegions[0],
      { width: view.result.width, height: view.result.height },
    ]);
    return [box.x + ((x + width / 2) / size.width) * box.width, box.y + ((y + height / 2) / size.height) * box.height];
  };
  await page.locator("#picture").scrollIntoViewIfNeeded();
  await page.mouse.click(...(await spot()));
  assert.equal(await page.locator("#regions tr.chosen").count(), 0);
  await page.mouse.click(...(await spot()));
  assert.equal(await page.locator("#regions tr.chosen").count(), 1);

  await drawn(page, answer);

  // Five or more images are compared with each other; the damaged ones come first.
  const many = await context.newPage();
  await many.goto(server.url);
  await give(many, "#images-drop", "drop", [...normals, damaged]);
  await idle(many);
  assert.equal(await many.isVisible("#grouping"), true);
  await many.check("#use-group");
  await many.waitForFunction(() => /compared with each other/.test(document.getElementById("status").textContent), null, { timeout: 60000 });
  const order = await many.locator("#images .number").allTextContents();
  assert.deepEqual(order, [...order].sort((a, b) => b - a), "the oddest first");
  assert.match(await text(many, "change"), /^alone 0\./);
  await accessible(many, "a group");
  await many.screenshot({ path: join(out, "group.png"), fullPage: true });
  await many.close();

  // Paste another one; add normal examples and see the change.
  await give(page, "body", "paste", [good]);
  await idle(page);
  assert.equal(await page.locator("#images li").count(), 2);
  await page.locator("#images button").first().click();
  await give(page, "#normals-drop", "drop", normals);
  await page.waitForFunction(() => document.getElementById("change").textContent.includes("without"));
  await idle(page);
  assert.equal(await page.locator("#normals li").count(), normals.length);
  const compared = JSON.parse(execFileSync(program, ["detect", damaged, "--format", "jsonl", "--normals", dirname(normals[0])]));
  assert.equal(await text(page, "score"), compared.score.toFixed(3));
  assert.equal(await text(page, "change"), `without the normal examples ${answer.score.toFixed(3)}`);
  await page.uncheck("#use-normals");
  assert.equal(await text(page, "score"), answer.score.toFixed(3));
  await page.check("#use-normals");
  await accessible(page, "the page with results");
  await page.screenshot({ path: join(out, "page.png"), fullPage: true });

  // Downloads.
  const download = async (button) => {
    const [file] = await Promise.all([page.waitForEvent("download"), page.click(button)]);
    return readFileSync(await file.path());
  };
  const png = await download("#save-png");
  assert.equal(png.readUInt32BE(16), answer.width);
  assert.equal(png.readUInt32BE(20), answer.height);
  const json = JSON.parse(await download("#save-json"));
  assert.equal(json.length, 2);
  assert.ok(Math.abs(json[0].score - compared.score) < 1e-6);
  assert.equal(json[0].normals.images, normals.length);
  const csv = String(await download("#save-csv")).split("\r\n");
  assert.equal(csv[0].split(",")[0], "path");
  assert.equal(csv.length, 4);

  // A file that is no image is named with its reason, and the rest goes on.
  await give(page, "#images-drop", "drop", [fileURLToPath(import.meta.url)]);
  await page.waitForFunction(() => document.getElementById("status").textContent.includes("could not be"));
  await page.waitForFunction(() => [...document.querySelectorAll("#images .number")].some((n) => n.textContent === "failed"));

  // In the dark, and on a phone: nothing wider than the screen.
  const phone = await browser.newContext({ viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true, colorScheme: "dark" });
  const small = await phone.newPage();
  await small.goto(server.url);
  await give(small, "#images-drop", "drop", [damaged]);
  await idle(small);
  const width = await small.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 360, `${width} pixels wide`);
  assert.equal(await small.getAttribute("#camera", "capture"), "environment");
  await accessible(small, "a phone in the dark");
  await small.screenshot({ path: join(out, "phone.png"), fullPage: true });

  // Nothing was asked of anybody else.
  const elsewhere = asked.filter((url) => !url.startsWith(server.url) && !/^(data|blob):/.test(url));
  assert.deepEqual(elsewhere, []);
  assert.deepEqual(trouble.filter((words) => !/status of 415/.test(words)), []);

  // A server with a token asks for it.
  const locked = await serve(["--token", "secret"]);
  const key = await context.newPage();
  await key.goto(locked.url);
  await key.waitForSelector("#token-form:not([hidden])");
  await accessible(key, "the page that asks for a token");
  await key.fill("#token", "secret");
  await key.press("#token", "Enter");
  await give(key, "#images-drop", "drop", [good]);
  await idle(key);
  assert.equal(await key.isVisible("#shown"), true);
  await locked.stop();
  await watched(browser);
  console.log("all is well");
} finally {
  await browser.close();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
}
