// Jobs that may have been bought without an answer, and a person's decision about them.

import { Field, html, useState } from "../shell/ui.js";
import { age } from "./words.js";
import { dollars } from "../shell/money.js";
import { FormDialog } from "./dialogs.js";
import { toast } from "../shell/toasts.js";

const needsPerson = (job) => job.queue?.reason === "needs_operator";
const promptOf = (job) => String(job.input?.prompt ?? job.id);
const price = (job) => (job.cost?.estimated_usd == null ? "price unknown" : `about ${dollars(job.cost.estimated_usd)}`);

export function InDoubt({ api, jobs, now, onChange }) {
  const [chosen, setChosen] = useState(null);
  const sorted = [...jobs].sort((one, other) => needsPerson(other) - needsPerson(one));
  return html`<section class="card stack" aria-labelledby="doubt-title">
    <h2 id="doubt-title">Unconfirmed jobs</h2>
    <p class="quiet">A paid request left, and no answer said what became of it. The usage log is searched for each; what it does not tell is yours to decide. Nothing is bought again meanwhile.</p>
    <ul class="rows">${sorted.map((job) => html`<li key=${job.id}>
      <div class="grow"><p class="clip">${promptOf(job)}</p>
        <p class="small quiet"><code>${job.id}</code> · ${job.model} · ${price(job)} · sent ${age(job.started_at ?? job.created_at, now)} ago</p></div>
      <span class=${needsPerson(job) ? "badge bad" : "badge"}>${needsPerson(job) ? "Needs you" : "Searching the log"}</span>
      <button type="button" class="button small" aria-label=${`Decide about ${promptOf(job).slice(0, 60)}`} onClick=${() => setChosen(job)}>Decide…</button></li>`)}</ul>
    ${chosen && html`<${Decide} api=${api} job=${chosen} onClose=${() => { setChosen(null); onChange(); }} />`}
  </section>`;
}

const CHOICES = {
  attach: ["It was bought", "The dashboard shows its generation. A worker checks that it is known, of this model and no other job’s; then the job goes on from there and its video is fetched. Nothing is bought again."],
  not_created: ["It was not bought", "The dashboard shows nothing for it. The job is queued again and bought; if it was bought after all, it is paid for twice."],
  give_up: ["Give up", "Nobody can tell. The job fails and is charged as estimated; if the usage log shows it later, the charge is corrected."],
};
const OF_GENERATION = new Set(["attach_refused", "generation_taken"]);
const DONE = { not_created: "Queued again.", give_up: "Given up: failed, charged as estimated." };

function Decide({ api, job, onClose }) {
  const [action, setAction] = useState("");
  const send = async ({ generation_id: generation }) => {
    const body = action === "attach" ? { action, generation_id: generation.trim() } : { action };
    const after = await api.request("POST", `/v1/admin/jobs/${encodeURIComponent(job.id)}/resolve`, { body }).catch((error) => {
      throw OF_GENERATION.has(error.code) ? Object.assign(error, { param: "generation_id" }) : error;
    });
    const pending = after.state === "unconfirmed";
    toast(DONE[action] ?? (pending ? "A worker is still checking it. The job’s timeline will tell." : "Attached: the job goes on from there."));
  };
  return html`<${FormDialog} title="What became of it?" verb="Decide" onSend=${send} onClose=${onClose}>${(wrong) => html`
    <p class="clip">${promptOf(job)}</p>
    <p class="small quiet"><code>${job.id}</code> · ${job.model} · ${price(job)}. Look for it in the provider’s dashboard first.${
      !needsPerson(job) && " The usage log is still searched: it may tell by itself."}</p>
    <fieldset class="field options"><legend class="name">Decision</legend>
      ${Object.entries(CHOICES).map(([value, [name, meaning]]) => html`<label class="option"><input type="radio" name="action" value=${value} required checked=${action === value} onChange=${() => setAction(value)} />
        <span><strong>${name}</strong><span class="small quiet">${meaning}</span></span></label>
        ${value === "attach" && action === "attach" && html`<${Field} label="The generation’s id" error=${wrong("generation_id")}>${(tied) => html`
          <input ...${tied} name="generation_id" required autocomplete="off" autocapitalize="none" spellcheck="false" />`}<//>`}`)}</fieldset>`}<//>`;
}
