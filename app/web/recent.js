// The latest jobs, as small pictures. A tile is kept as long as its job is listed, so that focus stays where it is.

import { call } from "./api.js";
import { $, copy } from "./dom.js";
import { contentOf } from "./job.js";
import { headline } from "./words.js";

const MOST = 12;
const tiles = new Map();
let open = () => {};
let jobs = [];
let selected = null;

/** Loads the list; `onOpen` gets the job that is chosen. */
export async function load({ onOpen }) {
  open = onOpen;
  jobs = (await call(`v1/jobs?limit=${MOST}`)).data.data;
  draw();
}

/** Puts a job in its place as it stands now, a new one first. */
export function put(job) {
  const index = jobs.findIndex(({ id }) => id === job.id);
  if (index >= 0) jobs[index] = job;
  else jobs = [job, ...jobs].slice(0, MOST);
  draw();
}

export function select(id) {
  selected = id;
  draw();
}

export function clear() {
  jobs = [];
  draw();
}

function draw() {
  $("recent-note").textContent = jobs.length ? "" : "What you make is listed here.";
  for (const [id, item] of tiles) {
    if (jobs.some((job) => job.id === id)) continue;
    item.remove();
    tiles.delete(id);
  }
  const list = $("recent");
  jobs.map(tile).forEach((item, index) => {
    if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
  });
}

function tile(job) {
  const item = tiles.get(job.id) ?? copy("tile");
  tiles.set(job.id, item);
  const [button, image, state] = ["button", "img", "b"].map((name) => item.querySelector(name));
  const prompt = job.input?.prompt ?? "";
  const poster = job.video?.poster_url ? contentOf(job, job.video.poster_url) : "";
  button.onclick = () => open(job);
  button.setAttribute("aria-label", `${headline(job)}: ${prompt}`);
  button.ariaCurrent = job.id === selected;
  image.hidden = !poster;
  if (poster && image.getAttribute("src") !== poster) image.src = poster;
  image.onerror = () => { image.hidden = true; };
  state.textContent = poster ? "" : headline(job);
  item.querySelector(".caption").textContent = prompt;
  return item;
}
