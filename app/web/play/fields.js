// The form of a model, made from its schema: a control for every kind of parameter.

import { Field, html, useId, useRef, useState } from "../shell/ui.js";
import { MediaField } from "./media-field.js";
import { isMedia } from "./media.js";

const NAMES = {
  prompt: "What should happen?", image_url: "Image", tail_image_url: "Last image", last_image_url: "Last image", video_url: "Video", audio_url: "Sound",
  duration: "Duration", aspect_ratio: "Shape", resolution: "Resolution", negative_prompt: "What to avoid", seed: "Seed", cfg_scale: "Closeness to the prompt",
  generate_audio: "With sound", enhance_prompt: "Let the model refine the prompt", watermark: "Watermark",
};
const FIRST = ["duration", "aspect_ratio", "resolution", "generate_audio"];
const MOST_PILLS = 6;
const LONG = /prompt|content|text/;

export const nameOf = (name) => NAMES[name] ?? name.replaceAll("_", " ").replace(/^./, (first) => first.toUpperCase()).replace(/ urls?$/, "");
export const properties = (model) => model.input_schema?.properties ?? {};
export const requiredOf = (model) => model.input_schema?.required ?? [];
export const imageFieldOf = (model) => Object.keys(properties(model)).find((name) => isMedia(properties(model)[name]) && /image/.test(name) && !/tail|last|mask/.test(name));
export const isList = (schema) => schema.type === "array" && isMedia(schema.items);
const isJson = (schema) => !isMedia(schema) && !isList(schema) && (["object", "array"].includes(kind(schema)) || schema.oneOf || schema.anyOf);
const kind = (schema) => [schema.type].flat().find((one) => one !== "null");

/** The parameters in the order in which they are asked for: what is needed first, what few people need last. */
export function arranged(model) {
  const all = Object.keys(properties(model));
  const needed = requiredOf(model);
  const isShown = (name) => needed.includes(name) || name === "prompt" || name === imageFieldOf(model);
  const media = all.filter((name) => isShown(name) && (isMedia(properties(model)[name]) || isList(properties(model)[name])));
  const words = all.filter((name) => isShown(name) && !media.includes(name));
  const choices = FIRST.filter((name) => all.includes(name) && !words.includes(name));
  const rest = all.filter((name) => ![...media, ...words, ...choices].includes(name));
  return { media, words, choices, rest };
}

/** One parameter. `value` is undefined as long as nobody touched it; then the model decides. */
export function Parameter({ model, name, value, error, onChange, ratio, pastes }) {
  const schema = properties(model)[name];
  const required = requiredOf(model).includes(name);
  const given = { name, label: nameOf(name), schema, value, error, required, onChange };
  if (isMedia(schema)) return html`<${MediaField} ...${given} ratio=${ratio} pastes=${pastes} />`;
  if (isList(schema)) return html`<${MediaList} ...${given} />`;
  if (schema.enum) return schema.enum.length <= MOST_PILLS ? html`<${Pills} ...${given} />` : html`<${Select} ...${given} />`;
  if (kind(schema) === "boolean") return html`<${Tick} ...${given} />`;
  if (isJson(schema)) return html`<${Json} ...${given} />`;
  if (["integer", "number"].includes(kind(schema))) return html`<${Quantity} ...${given} whole=${kind(schema) === "integer"} />`;
  return html`<${Text} ...${given} />`;
}

const shown = (name, value) => (name === "duration" ? `${value} s` : String(value));

function Pills({ name, label, schema, value, error, onChange }) {
  const id = useId();
  const current = value ?? schema.default;
  return html`<fieldset class="field" aria-describedby=${error ? `${id}-error` : undefined}>
    <legend class="name">${label}${current === undefined && html` <span class="quiet">up to the model</span>`}</legend>
    <div class="pills">${schema.enum.map((one) => html`<label>
      <input type="radio" class="unseen" name=${`${id}-${name}`} checked=${String(one) === String(current)} onChange=${() => onChange(one)} /><span>${shown(name, one)}</span>
    </label>`)}</div>
    ${error && html`<p class="error" id=${`${id}-error`}>${error}</p>`}
  </fieldset>`;
}

const Select = ({ name, label, schema, value, error, onChange }) => html`<${Field} label=${label} error=${error}>${(tied) => html`
  <select ...${tied} name=${name} value=${String(schema.enum.indexOf(value ?? schema.default))}
    onChange=${({ target }) => onChange(schema.enum[Number(target.value)])}>
    ${schema.default === undefined && html`<option value="-1">Up to the model</option>`}
    ${schema.enum.map((one, index) => html`<option value=${String(index)}>${shown(name, one)}</option>`)}
  </select>`}<//>`;

function Tick({ label, name, schema, value, error, onChange }) {
  const id = useId();
  return html`<div class="field"><div class="tick"><input id=${id} name=${name} type="checkbox" checked=${value ?? schema.default ?? false}
    aria-describedby=${error ? `${id}-error` : undefined} onChange=${({ target }) => onChange(target.checked)} /><label for=${id}>${label}</label></div>
    ${error && html`<p class="error" id=${`${id}-error`}>${error}</p>`}</div>`;
}

function Quantity({ name, label, schema, value, error, whole, onChange }) {
  const { minimum, maximum } = schema;
  const isRange = minimum !== undefined && maximum !== undefined;
  const current = value ?? schema.default;
  const read = ({ target }) => onChange(target.value === "" ? undefined : Number(target.value));
  const step = whole ? 1 : isRange ? (maximum - minimum) / 100 : "any";
  return html`<${Field} label=${label} error=${error} hint=${isRange && `${minimum} to ${maximum}`}>${(tied) => html`<div class="row quantity">
    ${isRange && html`<input type="range" aria-label=${`${label}, as a slider`} min=${minimum} max=${maximum} step=${step} value=${current ?? (minimum + maximum) / 2} onInput=${read} />`}
    <input ...${tied} name=${name} class="box" type="number" inputmode=${whole ? "numeric" : "decimal"} min=${minimum} max=${maximum} step=${whole ? 1 : "any"}
      value=${current ?? ""} placeholder=${name === "seed" ? "At random" : "Up to the model"} onInput=${read} />
    ${name === "seed" && html`<button type="button" class="button small" onClick=${() => onChange(Math.floor(Math.random() * 2 ** 31))}>Roll</button>`}
  </div>`}<//>`;
}

function Text({ name, label, schema, value, error, required, onChange }) {
  const set = ({ target }) => onChange(target.value === "" ? undefined : target.value);
  const submit = (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.form.requestSubmit();
  return html`<${Field} label=${label} error=${error} optional=${!required}>${(tied) => (LONG.test(name)
    ? html`<textarea ...${tied} name=${name} rows=${name === "prompt" ? 4 : 2} maxlength=${schema.maxLength} value=${value ?? ""} onInput=${set} onKeyDown=${submit}></textarea>`
    : html`<input ...${tied} name=${name} type="text" maxlength=${schema.maxLength} value=${value ?? ""} placeholder=${schema.default ?? ""} onInput=${set} />`)}<//>`;
}

/** What has parts of its own is written as JSON. A text that is none stays a text, and the service says what is wrong. */
function Json({ name, label, value, error, required, onChange }) {
  const [text, setText] = useState(value === undefined ? "" : JSON.stringify(value));
  const set = ({ target }) => {
    setText(target.value);
    try {
      onChange(target.value.trim() === "" ? undefined : JSON.parse(target.value));
    } catch {
      onChange(target.value);
    }
  };
  return html`<${Field} label=${label} error=${error} optional=${!required} hint="As JSON.">${(tied) => html`
    <textarea ...${tied} name=${name} class="code" rows="2" spellcheck="false" value=${text} onInput=${set}></textarea>`}<//>`;
}

function MediaList({ name, label, schema, value = [], error, required, onChange }) {
  const most = schema.maxItems ?? 16;
  const latest = useRef(value); // an upload may end after another picture came
  latest.current = value;
  const set = (index, media) => {
    const now = latest.current;
    latest.current = media ? Object.assign([...now], { [index]: media }) : now.filter((_, other) => other !== index);
    onChange(latest.current);
  };
  return html`<div class="stack">${[...value, ...(value.length < most ? [undefined] : [])].map((media, index) => html`
    <${MediaField} key=${index} name=${name} label=${index ? `${label} ${index + 1}` : label} value=${media} required=${required && !index}
      error=${index === 0 ? error : ""} onChange=${(next) => set(index, next)} />`)}</div>`;
}
