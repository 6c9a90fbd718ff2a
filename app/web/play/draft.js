// What is being written: the model, its values, how many. It outlives the view, so that looking elsewhere loses nothing.

import { Media } from "./media.js";
import { useEffect, useState } from "../shell/ui.js";

export const PREFERRED = "veo2/image-to-video";
const PROMPT = "Golden hour on the lake: the sailboat drifts on, the water glitters, the camera slowly moves in.";
const readers = new Set();

export const draft = { model: PREFERRED, values: { prompt: PROMPT, image_url: new Media("web/sample.jpg", { name: "Sample" }) }, count: 1 };
/** The jobs on the stage, and the picture they are made from. */
export const stage = { ids: [], still: null };

/** Changes the draft, or what is on the stage, and draws anew. */
export function change(what, fields) {
  Object.assign(what, fields);
  for (const tell of readers) tell({});
}

export const setValue = (name, value) => change(draft, { values: { ...draft.values, [name]: value } });

export function useDraft() {
  const [, draw] = useState({});
  useEffect(() => {
    readers.add(draw);
    return () => readers.delete(draw);
  }, []);
  return draft;
}

/** Starts anew from a job: its model and its input, the uploads in it as pictures again. */
export async function takeUp(job, { also = {} } = {}) {
  const values = {};
  for (const [name, value] of Object.entries(job.input ?? {})) values[name] = await revived(value, name);
  change(draft, { model: job.model, values: { ...values, ...also }, count: 1 });
  location.hash = "#/";
}

async function revived(value, name) {
  if (Array.isArray(value)) return Promise.all(value.map((one) => revived(one, name)));
  if (typeof value === "string" && value.startsWith("file_")) return Media.ofFile(value);
  return /url|image|video|audio/.test(name) && /^https?:/.test(value) ? Media.ofLink(value) : value;
}
