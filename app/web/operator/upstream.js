// How submissions to the provider stand; pausing and resuming them.

import { Field, html, Notice, useState } from "../shell/ui.js";
import { ago, headed, holdText, spoken, until } from "./words.js";
import { dollars } from "../shell/money.js";
import { FormDialog } from "./dialogs.js";
import { moment } from "../shell/words.js";
import { toast } from "../shell/toasts.js";

function standing({ paused, hold, model_holds: models, pace_per_minute: pace }) {
  if (paused) return ["Paused", "warn"];
  if (hold) return ["Held", "bad"];
  if (Object.keys(models).length) return ["Some models held", "warn"];
  return pace ? ["Slowed down", "warn"] : ["Open", "good"];
}

export function Upstream({ api, upstream, onChange }) {
  const [asking, setAsking] = useState(false);
  const [word, tone] = standing(upstream);
  const { paused, hold } = upstream;
  const models = Object.entries(upstream.model_holds);
  const stopped = !paused && (hold || models.length || upstream.pace_per_minute);
  const resume = async () => {
    try {
      await api.request("POST", "/v1/admin/upstream/resume");
      toast("Submitting again.");
    } catch (error) {
      toast(error.message, "bad");
    }
    onChange();
  };
  return html`<section class="card stack" aria-labelledby="upstream-title">
    <div class="spread"><h2 id="upstream-title">Submissions</h2><span class=${`badge ${tone}`} role="status">${word}</span></div>
    ${paused && html`<${Notice} kind="warn" title=${paused.reason || "No reason was given."}>Paused ${moment(paused.since)}${paused.by && ` by ${paused.by}`}. Jobs are still taken, and wait.<//>`}
    ${hold && html`<${Notice} kind="warn" title=${headed(spoken(hold))}>${holdText(hold)} Held ${ago(upstream.hold_since)}${upstream.next_try_at && `; next try ${until(upstream.next_try_at)}`}.<//>`}
    ${models.length > 0 && html`<${Notice} kind="warn" title="Single models hold"><ul>${models.map(([model, reason]) => html`<li><code>${model}</code>: ${holdText(reason)}</li>`)}</ul><//>`}
    <dl class="facts">
      <dt>Balance</dt><dd class="number">${upstream.balance_usd == null ? "Not read yet" : html`${dollars(upstream.balance_usd)} <span class="quiet">read ${ago(upstream.balance_at)}</span>`}</dd>
      <dt>Pace</dt><dd>${upstream.pace_per_minute ? `${Math.round(upstream.pace_per_minute)} a minute, after a rate limit` : "No limit"}</dd>
      <dt>Places taken</dt><dd class="number">${upstream.in_flight}</dd>
      <dt>Usage log</dt><dd>${upstream.log_read_at ? `read ${ago(upstream.log_read_at)}` : "not read yet"}${upstream.parked ? `; ${upstream.parked} jobs wait for it` : ""}</dd>
      ${upstream.stray_purchases > 0 && html`<dt>Strays</dt><dd class="bad-word">${upstream.stray_purchases} bought without a job. Look at stray_purchase in the log.</dd>`}
    </dl>
    <div class="row">
      <button type="button" class=${paused ? "main" : "button"} onClick=${paused ? resume : () => setAsking(true)}>${paused ? "Resume" : "Pause…"}</button>
      ${stopped && html`<button type="button" class="button" onClick=${resume}>Resume</button>`}
      ${hold && !paused && html`<span class="small quiet">Resume tries at once; a refusal holds anew.</span>`}
    </div>
    ${asking && html`<${Pause} api=${api} onClose=${() => { setAsking(false); onChange(); }} />`}
  </section>`;
}

function Pause({ api, onClose }) {
  const pause = ({ reason }) => api.request("POST", "/v1/admin/upstream/pause", { body: reason.trim() ? { reason: reason.trim() } : {} });
  return html`<${FormDialog} title="Pause submissions" verb="Pause" onClose=${onClose} onSend=${async (fields) => { await pause(fields); }}>${(wrong) => html`
    <p>Nothing more is bought until somebody resumes, also after a restart. Jobs are still taken and wait; what was bought goes on.</p>
    <${Field} label="Reason" optional error=${wrong("reason")} hint="Other operators see it.">${(tied) => html`<input ...${tied} name="reason" maxlength="500" autocomplete="off" autofocus />`}<//>`}<//>`;
}
