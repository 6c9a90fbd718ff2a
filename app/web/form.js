// The form of a new video: fields from the model's schema, the estimate, refusals beside the field they name.

import { call } from "./api.js";
import { $, copy, say, simulated } from "./dom.js";
import { dollars, estimate } from "./money.js";
import { isImage, Picture } from "./picture.js";

const NAMES = {
  image_url: "Image", tail_image_url: "Last image", last_image_url: "Last image",
  duration: "Duration", aspect_ratio: "Shape", resolution: "Resolution",
};
const CHOICES = ["duration", "aspect_ratio", "resolution"];
const PREFERRED = "veo2/image-to-video";
const pictures = [];
const wishes = {};
let models = new Map();
let shown = { pictures: [], choices: new Map() };
let attempt = null;
let sending = false;
let arriving = null; // the sample: it is seen before it can be sent

/** Fills the form; `onMade` gets each new job and the image it was made from. */
export function start(list, { onMade }) {
  models = new Map(list.filter(canBeMadeHere).map((model) => [model.id, model]));
  const chosen = $("model").value;
  $("model").replaceChildren(...[...models.keys()].map((id) => new Option(id)));
  $("model").value = [chosen, PREFERRED, ...models.keys()].find((id) => models.has(id));
  build();
  $("model").onchange = build;
  $("form").oninput = ({ target }) => {
    if (target.type === "radio") wishes[target.name] = target.value;
    price();
  };
  $("form").onsubmit = (event) => {
    event.preventDefault();
    send(onMade);
  };
}

$("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("form").requestSubmit();
});
document.addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files ?? [])].find(isImage);
  if (file && shown.pictures.length) pictures[0].take(file);
});

const properties = (model) => model.input_schema?.properties ?? {};
const required = (model) => model.input_schema?.required ?? [];
const isImageField = (name, schema) => schema?.format === "uri" && name.includes("image");
const imagesOf = (model) => required(model).filter((name) => isImageField(name, properties(model)[name]));

/** Whether this page has a field for everything that the model needs. */
function canBeMadeHere(model) {
  if (!model.known) return false;
  const offered = ["prompt", ...CHOICES, ...imagesOf(model)];
  return required(model).every((name) => offered.includes(name));
}

function build() {
  const model = models.get($("model").value);
  if (!model) return;
  shown.pictures = imagesOf(model);
  while (pictures.length < shown.pictures.length) {
    pictures.push(new Picture(pictures.length + 1));
    if (pictures.length === 1) arriving = pictures[0].takeSample("web/sample.jpg").catch(() => {});
  }
  shown.pictures.forEach((name, index) => { pictures[index].name = NAMES[name] ?? name; });
  if (shown.pictures.length > 1) pictures[0].name = "First image";
  $("pictures").replaceChildren(...shown.pictures.map((_, index) => pictures[index].element));
  shown.choices = new Map();
  for (const name of CHOICES.filter((known) => properties(model)[known]?.enum)) {
    shown.choices.set(name, choice(name, properties(model)[name], wishes[name]));
  }
  $("choices").replaceChildren(...shown.choices.values());
  clearErrors();
  price();
}

/** A row of radio buttons; what was chosen for another model stays, if this one has it. */
function choice(name, schema, wish) {
  const field = copy("choice");
  field.querySelector("legend").textContent = NAMES[name];
  field.querySelector(".error").id = `${name}-error`;
  field.setAttribute("aria-describedby", `${name}-error`);
  const first = [wish, schema.default].find((value) => schema.enum.some((known) => String(known) === String(value)));
  for (const value of schema.enum) {
    const pill = copy("pill");
    const input = pill.querySelector("input");
    Object.assign(input, { name, value, checked: String(value) === String(first ?? schema.enum[0]) });
    pill.querySelector("span").textContent = name === "duration" ? `${value} s` : value;
    field.querySelector(".pills").append(pill);
  }
  return field;
}

const values = () =>
  Object.fromEntries([...shown.choices].map(([name, field]) => [name, field.querySelector(":checked")?.value]));

function quote() {
  const model = models.get($("model").value);
  const documented = Object.entries(properties(model)).filter(([, schema]) => "default" in schema);
  const defaults = Object.fromEntries(documented.map(([name, schema]) => [name, schema.default]));
  return estimate(model.pricing, { ...defaults, ...values() });
}

function price() {
  const usd = quote();
  const real = usd === null ? "price not known" : `about ${dollars(usd)}`;
  $("estimate").textContent = simulated ? "Simulated: free" : real[0].toUpperCase() + real.slice(1);
  $("estimate-note").textContent = simulated ? `Real: ${real}` : "";
}

async function send(onMade) {
  if (sending) return;
  clearErrors();
  busy(true);
  try {
    if (shown.pictures.length && !pictures[0].file) await arriving;
    const missing = shown.pictures.findIndex((_, index) => !pictures[index].file);
    if (!$("prompt").value.trim()) return complain("prompt", "Describe what should happen.");
    if (missing >= 0) return complain(shown.pictures[missing], "Choose an image.");
    const source = shown.pictures.length ? pictures[0].url : null;
    const { data } = await call("v1/jobs", order());
    attempt = null;
    onMade(data, source);
  } catch (error) {
    // Without an answer, or with a 5xx, the job may exist: the same request again must not buy a second one.
    if (error.status && error.status < 500 && error.status !== 409) attempt = null;
    complain(error.param, error.message);
  } finally {
    busy(false);
  }
}

/** The request. What the page shows as the price is also the most that it may cost. */
function order() {
  const usd = quote();
  const texts = { model: $("model").value, prompt: $("prompt").value, ...values() };
  if (usd > 0) texts.max_cost_usd = usd;
  const content = JSON.stringify([texts, shown.pictures.map((name, index) => [name, pictures[index].serial])]);
  if (attempt?.content !== content) attempt = { content, key: randomKey() };
  const body = new FormData();
  for (const [name, value] of Object.entries(texts)) body.append(name, value);
  shown.pictures.forEach((name, index) => body.append(name, pictures[index].file, "image"));
  return { method: "POST", body, headers: { "Idempotency-Key": attempt.key } };
}

const randomKey = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("-");

function busy(now) {
  sending = now;
  $("make").setAttribute("aria-disabled", String(now));
  $("make").textContent = now ? "Sending…" : "Make the video";
}

function complain(param, message) {
  const name = (param ?? "").replace(/^input\./, "");
  const picture = pictures[shown.pictures.indexOf(name)];
  if (picture) {
    picture.complain(message);
    return picture.input.focus();
  }
  const field = shown.choices.get(name) ?? (["prompt", "model"].includes(name) ? $(name) : null);
  const place = $(field ? `${name}-error` : "form-error");
  say(place, message);
  field?.setAttribute("aria-invalid", "true");
  (field?.querySelector(":checked") ?? field ?? place).focus();
}

function clearErrors() {
  for (const place of $("form").querySelectorAll(".error")) place.hidden = true;
  for (const field of $("form").querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
}
