// Choosing one of all models: searched, grouped by developer, with what each takes and costs.

import { dollars, estimate } from "../shell/money.js";
import { html, useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from "../shell/ui.js";
import { isList, properties, requiredOf } from "./fields.js";
import { isMedia, kindOf } from "./media.js";
import { span } from "../shell/words.js";

/** What a model takes, in words: what it needs without, what it can do with a question mark. */
function takes(model) {
  const kinds = new Map();
  for (const [name, schema] of Object.entries(properties(model))) {
    if (!isMedia(schema) && !isList(schema)) continue;
    const kind = kindOf(name);
    kinds.set(kind, kinds.get(kind) || requiredOf(model).includes(name));
  }
  const words = { image: "image", video: "video", audio: "sound" };
  return ["text", ...[...kinds].map(([kind, needed]) => (needed ? words[kind] : `${words[kind]} if you like`))].join(", ");
}

const lengths = ({ enum: list } = {}) => list && (list.length > 1 ? `${Math.min(...list)} to ${Math.max(...list)} s` : `${list[0]} s`);

/** The price with the model's defaults. */
function priceOf(model) {
  const defaults = Object.fromEntries(Object.entries(properties(model)).flatMap(([name, schema]) => ("default" in schema ? [[name, schema.default]] : [])));
  const usd = estimate(model.pricing, defaults);
  if (usd !== null) return `about ${dollars(usd)}${defaults.duration ? ` for ${defaults.duration} s` : ""}`;
  return "price not known ahead";
}

function facts(model) {
  const { duration, resolution } = properties(model);
  return [takes(model), lengths(duration), resolution?.enum?.join(", "), model.typical_seconds && `ready in about ${span(Math.round(model.typical_seconds))}`].filter(Boolean).join(" · ");
}

const developer = (model) => model.owned_by.toLowerCase().replaceAll("-", " ").replace(/\b[a-z]/g, (first) => first.toUpperCase());
const text = (model) => [model.id, ...model.aliases, model.owned_by, facts(model)].join(" ").toLowerCase();

/** The models that hold every word, by developer. */
function matching(models, search) {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const groups = new Map();
  for (const model of models) {
    if (!words.every((word) => text(model).includes(word))) continue;
    groups.set(developer(model), [...(groups.get(developer(model)) ?? []), model]);
  }
  return [...groups].sort(([one], [other]) => one.localeCompare(other));
}

export function ModelPicker({ models, chosen, error, onChange }) {
  const id = useId();
  const dialog = useRef();
  const [open, setOpen] = useState(false);
  const close = () => dialog.current.close();
  useLayoutEffect(() => { if (open) dialog.current.showModal(); }, [open]);
  return html`<div class="field">
    <span class="name" id=${`${id}-name`}>Model</span>
    <button type="button" id=${id} class="box picker" aria-haspopup="dialog" aria-labelledby=${`${id}-name ${id}`} aria-describedby=${`${id}-facts`} onClick=${() => setOpen(true)}>
      <span class="picker-name">${chosen.id}</span><span aria-hidden="true">▾</span></button>
    <p class="hint" id=${`${id}-facts`}>${developer(chosen)} · ${facts(chosen)}${chosen.available === false ? " · not offered by the provider now" : ""}</p>
    ${error && html`<p class="error">${error}</p>`}
    ${open && html`<dialog ref=${dialog} aria-label="Choose a model" onClose=${() => setOpen(false)}
      onClick=${(event) => event.target === dialog.current && close()}>
      <${Choice} models=${models} chosen=${chosen} onChoose=${(model) => { close(); onChange(model); }} onClose=${close} /></dialog>`}
  </div>`;
}

function Choice({ models, chosen, onChoose, onClose }) {
  const id = useId();
  const [search, setSearch] = useState("");
  const groups = useMemo(() => matching(models, search), [search]);
  const flat = groups.flatMap(([, group]) => group);
  const [current, setCurrent] = useState(chosen.id);
  const at = Math.max(0, flat.findIndex((model) => model.id === current));
  const list = useRef();
  useEffect(() => { list.current.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" }); }, [current, search]);
  const keys = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }[event.key];
    if (step && flat.length) setCurrent(flat[Math.min(flat.length - 1, Math.max(0, at + step))].id);
    else if (event.key === "Enter" && flat.length) onChoose(flat[at]);
    else return;
    event.preventDefault();
  };
  const optionId = (model) => `${id}-${models.indexOf(model)}`;
  return html`<div class="choice">
    <div class="choice-head row"><input class="box" type="search" role="combobox" aria-expanded="true" aria-controls=${id} aria-activedescendant=${flat.length ? optionId(flat[at]) : undefined}
      aria-label="Search by name, developer, or what it takes" placeholder=${`Search ${models.length} models`} autofocus value=${search} onInput=${({ target }) => setSearch(target.value)} onKeyDown=${keys} />
      <button type="button" class="button" onClick=${onClose}>Close</button></div>
    <div id=${id} ref=${list} class="choice-list" role="listbox" aria-label="Models" tabindex="-1">
      ${groups.map(([name, group]) => html`<div key=${name} role="group" aria-label=${name}><p class="choice-group" aria-hidden="true">${name}</p>
        ${group.map((model) => html`<div key=${model.id} id=${optionId(model)} role="option" class="choice-option" aria-selected=${model === flat[at]}
          onClick=${() => onChoose(model)}>
          <span class="spread"><strong>${model.id}</strong><span class="small number">${priceOf(model)}</span></span>
          <span class="small quiet">${facts(model)}${model.available === false ? " · not offered now" : ""}</span></div>`)}</div>`)}
    </div>
    <p class="unseen" role="status">${flat.length} models</p>
    ${!flat.length && html`<p class="choice-none quiet">No model matches. Try fewer words.</p>`}
  </div>`;
}
