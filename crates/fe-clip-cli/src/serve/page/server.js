// Talking to the server.

let token = "";
// The name under which the server keeps the normal examples, until they change.
let normalsId = null;

class Refusal extends Error {
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

// Where the page is, whatever stands before its path: a proxy may serve it below a prefix.
const HERE = location.pathname.replace(/\/?$/, "/");

// Asks, and asks again while the server has too much to do.
async function ask(path, options = {}) {
  for (let attempt = 0; ; attempt++) {
    let response;
    try {
      const headers = token ? { Authorization: `Bearer ${token}` } : {};
      response = await fetch(HERE + path, { ...options, headers });
    } catch {
      throw new Refusal(0, "the server cannot be reached");
    }
    if (response.ok) return response.json();
    if ((response.status === 429 || response.status === 503) && attempt < 30) {
      await pause(Number(response.headers.get("Retry-After")) || 1);
      continue;
    }
    const body = await response.json().catch(() => ({}));
    throw new Refusal(response.status, body.error ?? `status ${response.status}`);
  }
}

// Judges a file, against normal examples if there are any, where it is to be looked at: { roi, ignore } or null.
async function detect(file, normals, places) {
  const send = (known) => {
    const form = new FormData();
    form.append("image", file, file.name);
    for (const kind of ["roi", "ignore"]) {
      if (places?.[kind].length) form.append(kind, polygonFile(places[kind]), `${kind}.json`);
    }
    if (!known) for (const normal of normals) form.append("normals", normal, normal.name);
    const query = known ? `&normals=${known}` : "";
    return ask(`v1/detect?map=true${query}`, { method: "POST", body: form });
  };
  const known = normals.length ? normalsId : null;
  let found;
  try {
    found = await send(known);
  } catch (error) {
    // The server keeps the examples of the last clients only.
    if (!(known && error.status === 404)) throw error;
    found = await send(null);
  }
  return { ...withMap(found), places };
}

// Judges files by comparing them with each other; one result a file, or its error.
async function detectGroup(files) {
  const form = new FormData();
  for (const file of files) form.append("images", file, file.name);
  const { images } = await ask("v1/group?map=true", { method: "POST", body: form });
  return images.map((found) => (found.error ? found : withMap(found)));
}

// An answer whose map is numbers.
function withMap(found) {
  const bytes = Uint8Array.from(atob(found.map.data), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const values = new Float32Array(bytes.length / 4);
  for (let i = 0; i < values.length; i++) values[i] = view.getFloat32(4 * i, true);
  const { rows, columns, extent } = found.map;
  return { ...found, map: { rows, columns, extent, values } };
}
