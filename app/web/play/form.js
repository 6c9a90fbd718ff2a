// The form of a new video: fields from the model's schema, the estimate, refusals beside the field they name.

import { change, draft, setValue, stage, useDraft } from "./draft.js";
import { html, useEffect, useRef, useState } from "../shell/ui.js";
import { arranged, imageFieldOf, nameOf, Parameter, properties } from "./fields.js";
import { dollars, estimate } from "../shell/money.js";
import { fieldOf, inputOf, missingOf, order, takesSeed } from "./order.js";
import { Media } from "./media.js";
import { ModelPicker } from "./model-picker.js";
import { put } from "../shell/live.js";
import { simulated } from "../shell/page.js";
import { span } from "../shell/words.js";

const PAUSE_MS = 400;
const MISSING = { prompt: "Describe what should happen." };

export function Form({ api, models }) {
  const { values, count, model: id } = useDraft();
  const model = models.find((one) => one.id === id || one.aliases.includes(id)) ?? models[0];
  const [errors, setErrors] = useState({});
  const [busy, setBusy] = useState(false);
  const form = useRef();
  const quote = useQuote(api, model, values);
  const { media, words, choices, rest } = arranged(model);
  const pick = (next) => {
    const [from, to] = [imageFieldOf(model), imageFieldOf(next)];
    const image = [values[from]].flat()[0];
    const moved = from && to && from !== to && image ? { [to]: properties(next)[to].type === "array" ? [image] : image } : {};
    setErrors({});
    change(draft, { model: next.id, values: { ...values, ...moved } });
  };
  const fail = (found) => {
    setErrors(found);
    // After it is drawn: a field that was folded away is there then.
    setTimeout(() => (form.current?.querySelector("[aria-invalid=true]") ?? form.current?.querySelector(".form-error"))?.focus());
  };
  const submit = async (event) => {
    event.preventDefault();
    if (busy) return;
    setErrors({});
    setBusy(true);
    try {
      const input = await inputOf(model, values);
      const missing = missingOf(model, input);
      if (missing.length) return fail(Object.fromEntries(missing.map((name) => [name, MISSING[name] ?? `${nameOf(name)} is needed.`])));
      const still = [values[imageFieldOf(model)]].flat()[0]?.url ?? null;
      const made = [];
      await order(api, { model, input, count, cap: quote.usd, onMade: (job) => {
        put(job);
        made.push(job.id);
        change(stage, { ids: [...made], still });
        if (made.length === 1) setTimeout(() => document.querySelector(".results").scrollIntoView({ block: "nearest" }));
      } });
    } catch (error) {
      const field = fieldOf(error);
      const isShown = field === "model" || field in properties(model);
      fail({ [isShown ? field : "form"]: error.message });
    } finally {
      setBusy(false);
    }
  };
  const parameter = (name) => html`<${Parameter} key=${`${model.id} ${name}`} model=${model} name=${name} value=${values[name]} error=${errors[name]}
    ratio=${values.aspect_ratio ?? properties(model).aspect_ratio?.default ?? properties(model).aspect_ratio?.enum?.[0]} pastes=${name === imageFieldOf(model)} onChange=${(value) => setValue(name, value)} />`;
  const folded = rest.some((name) => errors[name] || values[name] !== undefined);
  return html`<form ref=${form} id="form" class="card stack" aria-label="New video" novalidate onSubmit=${submit}>
    ${media.map(parameter)}
    ${words.map(parameter)}
    <${ModelPicker} models=${models} chosen=${model} error=${errors.model} onChange=${pick} />
    ${choices.length > 0 && html`<div class="choices">${choices.map(parameter)}</div>`}
    ${rest.length > 0 && html`<details class="more" open=${folded || undefined}><summary>${rest.length} more ${rest.length === 1 ? "option" : "options"}</summary><div class="stack">${rest.map(parameter)}</div></details>`}
    <${Count} model=${model} count=${count} />
    <div class="order">
      <${Price} quote=${quote} count=${count} />
      <button id="make" class="main" type="submit" aria-disabled=${busy}>${busy ? "Sending…" : count > 1 ? `Make ${count} videos` : "Make the video"}</button>
    </div>
    ${errors.form && html`<p class="error form-error" role="alert" tabindex="-1">${errors.form}</p>`}
  </form>`;
}

const Count = ({ model, count }) => html`<fieldset class="field"><legend class="name">Variations</legend>
  <div class="row"><div class="pills">${[1, 4].map((one) => html`<label><input type="radio" class="unseen" name="count" checked=${count === one} onChange=${() => change(draft, { count: one })} /><span>${one === 1 ? "One" : "Four"}</span></label>`)}</div>
  ${count > 1 && html`<span class="hint">${takesSeed(model) ? "Each with a seed of its own." : "This model takes no seed: four identical orders."}</span>`}</div></fieldset>`;

function Price({ quote: { usd, eta, note, stale }, count }) {
  const each = usd === null ? "price not known ahead" : `about ${dollars(usd)}`;
  const sum = usd !== null && count > 1 ? `${count} × ${dollars(usd)} = ${dollars(usd * count)}` : usd === null && count > 1 ? `${count} × ${each}` : each;
  const capital = sum[0].toUpperCase() + sum.slice(1);
  return html`<p class=${`price number ${stale ? "stale" : ""}`} aria-live="polite">
    <strong>${simulated ? "Simulated: free" : capital}</strong><br />
    <span class="small quiet">${[simulated && `Real: ${sum}`, note, eta && `ready in about ${span(eta)}`].filter(Boolean).join(" · ") || " "}</span></p>`;
}

/** What it will cost: reckoned here at once, and by the service as soon as it has looked at it. */
function useQuote(api, model, values) {
  const [said, setSaid] = useState(null);
  const inputs = { ...Object.fromEntries(Object.entries(properties(model)).map(([name, schema]) => [name, schema.default])), ...values };
  const own = estimate(model.pricing, Object.fromEntries(Object.entries(inputs).filter(([, value]) => value !== undefined)));
  useEffect(() => {
    const call = new AbortController();
    const timer = setTimeout(async () => {
      try {
        const input = await inputOf(model, values);
        const uploads = Object.values(values).flat().some((value) => value instanceof Media && value.uploading && !value.sent);
        if (missingOf(model, input).length || uploads) return setSaid(null);
        const answer = await api.estimate({ model: model.id, input }, { signal: call.signal });
        if (!call.signal.aborted) setSaid({ for: values, usd: answer.cost.estimated_usd, eta: answer.eta_seconds, note: answer.cost.assumption });
      } catch {
        if (!call.signal.aborted) setSaid(null); // what is wrong is said when it is ordered
      }
    }, PAUSE_MS);
    return () => {
      clearTimeout(timer);
      call.abort();
    };
  }, [model, values]);
  if (said?.for === values) return { usd: said.usd, eta: said.eta, note: said.note };
  return { usd: own, eta: said?.eta, stale: Boolean(said) };
}
