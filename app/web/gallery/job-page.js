// One job: its video, how it went, what was asked for and what it cost, and the code that repeats it.

import { Actions, Screen, StateLine } from "../shell/job-parts.js";
import { Failed, html, Loading, useId, useLoaded, useRef, useState } from "../shell/ui.js";
import { moment } from "../shell/words.js";
import { put, useJob } from "../shell/live.js";
import { dollars } from "../shell/money.js";
import { simulated } from "../shell/page.js";
import { extend } from "../play/playground.js";
import { SNIPPETS, requestOf } from "./snippets.js";
import { takeUp } from "../play/draft.js";
import { toast } from "../shell/toasts.js";
import { useModels } from "../shell/catalogue.js";

export const title = "Job";

export function View({ api, parameters: { id } }) {
  const loaded = useLoaded(async (call) => put(await api.get(id, call)), [id]);
  const models = useModels(api).data ?? [];
  const job = useJob(id);
  const video = useRef();
  const back = html`<p class="small way-back"><a href="#/gallery">Gallery</a></p>`;
  if (loaded.error && !job) return html`${back}<h1 tabindex="-1">Job</h1><${Failed} error=${loaded.error} again=${loaded.error.status === 404 ? null : loaded.again} />`;
  if (!job) return html`${back}<h1 tabindex="-1">Job</h1><${Loading} lines=${8} />`;
  const prompt = job.input?.prompt;
  return html`${back}
    <h1 tabindex="-1" class="job-title">${prompt ?? "A video without a prompt"}</h1>
    <div class="about">
      <div class="stack column">
        <article class="card stack result" data-state=${job.state}>
          <${Screen} job=${job} video=${video} />
          <div><${StateLine} job=${job} /></div>
          <${Actions} job=${job} video=${video} onAgain=${takeUp} onExtend=${(one, element) => extend(models, one, element)} onGone=${() => { location.hash = "#/gallery"; }} />
        </article>
        <section class="card stack"><h2>Request</h2><${Request} job=${job} /></section>
      </div>
      <div class="stack column">
        <section class="card stack"><h2>Timeline</h2><${Timeline} api=${api} job=${job} /></section>
        <section class="card stack"><h2>Cost</h2><${Cost} job=${job} /></section>
        <section class="card stack"><h2>Repeat it</h2><${Code} job=${job} /></section>
      </div>
    </div>`;
}

function Timeline({ api, job }) {
  const { data, error, again } = useLoaded((call) => api.timeline(job.id, call), [job.id, job.state, job.cost?.settled]);
  if (error) return html`<${Failed} error=${error} again=${again} />`;
  if (!data) return html`<div class="timeline"><${Loading} lines=${4} /></div>`;
  const start = Date.parse(job.created_at);
  const after = (at) => `+${((Date.parse(at) - start) / 1000).toFixed(1)} s`;
  const words = (type) => type.replace("job.", "").replaceAll("_", " ").replace(/^./, (first) => first.toUpperCase());
  return html`<ol class="timeline">${data.map((event, index) => html`<li key=${event.id}><span>${words(event.type)}${event.by?.on_host ? " by an operator" : ""}</span>
    <time class="quiet small number" datetime=${event.created_at}>${index ? after(event.created_at) : moment(event.created_at)}</time></li>`)}</ol>`;
}

const usd = (amount) => (amount === null || amount === undefined ? "not known" : dollars(amount));

const Facts = ({ of }) => html`<dl class="facts number">${of.filter(([, value]) => value).map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;

const Cost = ({ job: { cost } }) => html`<${Facts} of=${[
  ["Estimated", usd(cost.estimated_usd)],
  [simulated ? "It would have cost" : "Charged", cost.charged_usd === null ? (cost.settled ? "nothing" : "not yet known") : `${usd(cost.charged_usd)}${cost.basis === "estimated" ? " (estimated)" : ""}`],
  ["Held of the budget", cost.reserved_usd > 0 && usd(cost.reserved_usd)],
]} />`;

const Request = ({ job }) => html`<${Facts} of=${[
    ["Job", html`<code>${job.id}</code>`], ["Model", job.model], ["Made", moment(job.created_at)], ["For", job.subject],
    ["Kept until", job.expires_at && moment(job.expires_at)],
    ["Retry of", job.retried_from && html`<a href=${`#/jobs/${job.retried_from}`}>${job.retried_from}</a>`],
    ["Video of", job.reused_from && html`<a href=${`#/jobs/${job.reused_from}`}>${job.reused_from}</a>`],
  ]} /><pre tabindex="0" aria-label="The request as JSON">${JSON.stringify(requestOf(job), null, 2)}</pre>`;

function Code({ job }) {
  const id = useId();
  const names = Object.keys(SNIPPETS);
  const [name, setName] = useState(names[0]);
  const code = SNIPPETS[name](job);
  const move = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = names[(names.indexOf(name) + step + names.length) % names.length];
    setName(next);
    document.getElementById(`${id}-${next}`).focus();
  };
  const copy = () => navigator.clipboard.writeText(code).then(() => toast("Copied."), () => toast("The browser does not allow it. Select the text and copy it.", "bad"));
  return html`<div class="tabs" role="tablist" aria-label="Language" onKeyDown=${move}>${names.map((one) => html`<button type="button" role="tab" id=${`${id}-${one}`} aria-controls=${id}
      aria-selected=${String(one === name)} tabindex=${one === name ? 0 : -1} onClick=${() => setName(one)}>${one}</button>`)}</div>
    <pre id=${id} role="tabpanel" tabindex="0" aria-labelledby=${`${id}-${name}`}>${code}</pre>
    <div class="spread"><p class="hint">KEY holds your key. Each run is a new video, and a new charge.</p><button type="button" class="button small" onClick=${copy}>Copy</button></div>`;
}
