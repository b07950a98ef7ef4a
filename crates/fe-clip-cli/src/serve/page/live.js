// The server's camera: its frames as they are scored, beside the images.

// As the items: { file, plain, bitmap, error, button, number, live }, of the newest frame; null
// without a camera.
let camera = null;
// Why there is no newer frame; whether the one that is shown should stay.
let gone = "";
let held = false;
let following = null; // what ends the answer that is being read

function addCamera(name) {
  if (camera) return;
  const [button, number] = [byId("live"), byId("live-number")];
  camera = { file: { name }, plain: null, bitmap: null, error: null, button, number, live: true };
  byId("live-name").textContent = name;
  byId("camera-section").hidden = false;
  button.addEventListener("click", () => {
    select(camera);
    say(byId("live-note").textContent);
  });
  if (!current) select(camera);
  cameraSays("Waiting for a picture …");
  follow();
}

function cameraSays(words) {
  byId("live-note").textContent = words;
  if (current === camera) say(words);
}

// What the controls beside a live picture look like.
function showLive() {
  const live = current === camera;
  byId("hold").hidden = !live;
  byId("hold").setAttribute("aria-pressed", String(held));
  byId("picture").classList.toggle("gone", live && Boolean(gone));
}

function hold(on) {
  held = on;
  if (!gone) cameraSays(held ? "This picture is held." : "Live.");
  showLive();
}
byId("hold").addEventListener("click", () => hold(!held));

function lose(words) {
  gone = words;
  cameraSays(words);
  camera.number.textContent = "gone";
  camera.number.classList.add("failed");
  if (current === camera) show();
}

// When a frame was: by the clock, or in the video.
function momentOf({ unix_time, stream_time, frame }) {
  if (unix_time) return new Date(unix_time * 1000).toLocaleTimeString();
  return stream_time === null ? `frame ${frame}` : `${stream_time.toFixed(1)} s`;
}

async function takeFrame({ picture, ...found }) {
  const bytes = Uint8Array.from(atob(picture), (c) => c.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
  if (held && current === camera) return bitmap.close();
  const before = camera.bitmap;
  Object.assign(camera, { plain: { ...withMap(found), places: null }, bitmap });
  if (gone || !before) cameraSays("Live.");
  gone = "";
  refresh(camera);
  if (view?.bitmap !== before) before?.close();
}

const EVENTS = {
  frame: takeFrame,
  failed: ({ error }) => cameraSays(error),
  lost: ({ error }) => lose(`The camera is gone and looked for: ${error}`),
  ended: ({ error }) => lose(error ? `The video broke off: ${error}` : "The video is at its end."),
};

// Reads the server's events until they end. Of frames that came together the last is enough.
async function readEvents(signal) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(`${HERE}v1/camera`, { headers, signal });
  if (!response.ok) throw new Error(`status ${response.status}`);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    const told = events.map((event) => /^event: (\w+)\ndata: (.*)$/.exec(event)).filter(Boolean);
    for (const [i, [, kind, data]] of told.entries()) {
      if (kind !== "frame" || i === told.length - 1) await EVENTS[kind]?.(JSON.parse(data));
    }
  }
}

// Follows the camera for as long as the page is looked at: browsers have few connections to a
// server, and other tabs want some.
async function follow() {
  for (;;) {
    following = new AbortController();
    await readEvents(following.signal).catch(() => {});
    if (document.hidden) {
      await new Promise((seen) => document.addEventListener("visibilitychange", seen, { once: true }));
    } else {
      lose("The server cannot be reached; it is asked again.");
      await pause(2);
    }
  }
}
document.addEventListener("visibilitychange", () => document.hidden && following?.abort());
