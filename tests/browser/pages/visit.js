// What a page can do to Reelay, told as data. Pages that may and pages that may not run the same script.

/** Sends a request; returns all that the page is let see of the answer. */
async function ask(url, { token, json, big, ...options } = {}) {
  const headers = new Headers(options.headers);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  if (json) headers.set("Content-Type", "application/json");
  const body = json ? JSON.stringify(json) : big ? new Uint8Array(big) : options.body;
  try {
    const answer = await fetch(url, { cache: "no-store", ...options, headers, body });
    const text = await answer.text();
    return { status: answer.status, type: answer.type, headers: Object.fromEntries(answer.headers), text };
  } catch (error) {
    return { failed: error.name };
  }
}

/** Sends the sample picture to `/v1/files`. */
async function upload(base, token, options = {}) {
  const body = new FormData();
  body.set("file", await fetch("sample.jpg").then((answer) => answer.blob()), "boat.jpg");
  return ask(`${base}/v1/files`, { method: "POST", token, body, ...options });
}

/** Waits for the end of a job, one long poll after the other; returns every answer. */
async function follow(base, token, id) {
  const answers = [await ask(`${base}/v1/jobs/${id}`, { token })];
  while (true) {
    const tag = answers.findLast(({ headers }) => headers?.etag).headers.etag;
    answers.push(await ask(`${base}/v1/jobs/${id}?wait=30`, { token, headers: { "If-None-Match": tag } }));
    const { status, text } = answers.at(-1);
    if (status !== 304 && (status !== 200 || JSON.parse(text).finished_at)) return answers;
  }
}

const next = (element, ...names) =>
  Promise.race(names.map((name) => new Promise((tell) => element.addEventListener(name, () => tell(name), { once: true }))));

/** Has a <video> play an address and jump to near its end; returns what it shows. */
async function play(src, attributes = {}) {
  const video = Object.assign(document.createElement("video"), { muted: true, src, ...attributes });
  document.body.append(video);
  if ((await next(video, "loadeddata", "error")) === "error") return { failed: video.error.message };
  await video.play();
  await new Promise((shown) => video.requestVideoFrameCallback(shown));
  const seeking = next(video, "seeked", "error");
  video.currentTime = video.duration - 1;
  const after = await seeking;
  return { after, seconds: video.duration, at: video.currentTime, size: [video.videoWidth, video.videoHeight], pixel: pixelOf(video) };
}

/** The first pixel, where the page may know it. */
function pixelOf(picture) {
  const canvas = new OffscreenCanvas(8, 8).getContext("2d");
  canvas.drawImage(picture, 0, 0, 8, 8);
  try {
    return [...canvas.getImageData(0, 0, 1, 1).data];
  } catch (error) {
    return error.name;
  }
}

/** Loads an address as an element does, without asking anybody; tells whether it took it. */
async function load(tag, src) {
  const element = document.createElement(tag);
  const ended = next(element, "load", "error");
  element.src = src;
  document.body.append(element);
  return ended;
}

/** Sends what a page may send when it is left, and waits until it has arrived; tells whether the browser took it. */
async function beacon(url, body) {
  const arrived = new Promise((tell) => {
    new PerformanceObserver((list) => list.getEntriesByName(url).some((entry) => entry.initiatorType === "beacon") && tell())
      .observe({ type: "resource", buffered: true });
  });
  const taken = navigator.sendBeacon(url, body);
  await arrived;
  return taken;
}

/** Submits a form, which needs nobody's leave, into a frame; returns what the page can read there. */
async function submit(action, enctype, fields) {
  const frame = Object.assign(document.createElement("iframe"), { name: `frame${document.querySelectorAll("iframe").length}` });
  document.body.append(frame);
  const form = Object.assign(document.createElement("form"), { action, enctype, method: "post", target: frame.name });
  for (const [name, value] of Object.entries(fields)) {
    form.append(Object.assign(document.createElement("input"), { type: "hidden", name, value }));
  }
  document.body.append(form);
  const loaded = next(frame, "load");
  form.submit();
  await loaded;
  try {
    return frame.contentWindow.document.body.innerText;
  } catch (error) {
    return error.name;
  }
}

/** Runs `ask` in a frame without an origin of its own: sandboxed, or from a data URL. */
async function askFromNowhere(kind, url, options) {
  const script = `${ask}; ask(${JSON.stringify(url)}, ${JSON.stringify(options)}).then((seen) => parent.postMessage({ ...seen, origin }, "*"))`;
  const frame = document.createElement("iframe");
  if (kind === "sandbox") Object.assign(frame, { sandbox: "allow-scripts", srcdoc: `<script>${script}</script>` });
  else frame.src = `data:text/html,<script>${encodeURIComponent(script)}</script>`;
  const told = new Promise((tell) => addEventListener("message", ({ data }) => tell(data), { once: true }));
  document.body.append(frame);
  return told;
}
