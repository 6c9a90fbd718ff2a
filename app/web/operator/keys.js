// The keys of a project: a new one is shown once; a revoked one ends at once.

import { Field, html, Notice, useRef, useState } from "../shell/ui.js";
import { FormDialog } from "./dialogs.js";
import { moment } from "../shell/words.js";
import { ago } from "./words.js";
import { toast } from "../shell/toasts.js";

const SCOPES = { "jobs:read": ["See jobs", "and their videos"], "jobs:write": ["Make jobs", "and so spend the project’s money"] };
const hasExpired = (key) => key.expires_at && new Date(key.expires_at) <= new Date();

export function Keys({ api, path, keys, isOpen, onChange }) {
  const [asked, setAsked] = useState(null);
  const done = () => { setAsked(null); onChange(); };
  const revoke = async (key, cancels) => {
    await api.request("DELETE", `/v1/admin/keys/${encodeURIComponent(key.id)}`, { query: { cancel_queued: cancels } });
    toast(`${key.name} is revoked.`);
  };
  const working = ({ revoked_at: revoked, ...key }) => !revoked && !hasExpired(key);
  const sorted = [...keys.data].sort((one, other) => working(other) - working(one));
  return html`<section class="card stack" aria-labelledby="keys-title">
    <div class="spread"><h2 id="keys-title">Keys</h2>${isOpen && html`<button type="button" class="button small" onClick=${() => setAsked("new")}>New key…</button>`}</div>
    ${sorted.length ? html`<ul class="rows">${sorted.map((key) => html`<li key=${key.id}>
        <div class="grow"><p class="clip"><strong>${key.name}</strong> <code class="quiet">${key.hint}</code></p>
          <p class="small quiet">${[key.scopes.join(", "), key.subject && `only ${key.subject}`, `made ${ago(key.created_at)}`, key.expires_at && `${hasExpired(key) ? "ended" : "ends"} ${moment(key.expires_at)}`].filter(Boolean).join(" · ")}</p></div>
        ${working(key) ? html`<button type="button" class="button small danger" aria-label=${`Revoke ${key.name}`} onClick=${() => setAsked(key)}>Revoke…</button>`
          : html`<span class="badge">${key.revoked_at ? "Revoked" : "Expired"}</span>`}</li>`)}</ul>`
      : html`<p class="quiet">No key yet. ${isOpen && "Make one for whoever calls the API."}</p>`}
    ${keys.has_more && html`<p class="small quiet">There are more: reelay keys list shows all.</p>`}
    ${asked === "new" && html`<${Create} api=${api} path=${path} onClose=${done} />`}
    ${asked?.id && html`<${FormDialog} title=${`Revoke ${asked.name}?`} verb="Revoke" danger onClose=${done}
      onSend=${({ cancel }) => revoke(asked, Boolean(cancel))}>
      <p>For good: whoever uses it is refused within five seconds, and its client tokens too. What was bought is finished.</p>
      <div class="tick"><input id="cancel-queued" type="checkbox" name="cancel" /><label for="cancel-queued">Cancel the jobs that it has in line</label></div><//>`}
  </section>`;
}

function Create({ api, path, onClose }) {
  const create = async ({ name, subject, expires_in_days: days, ...ticked }) => {
    const scopes = Object.keys(SCOPES).filter((scope) => scope in ticked);
    if (!scopes.length) throw Object.assign(new Error("Tick at least one: a key must be good for something."), { param: "scopes" });
    const body = { name: name.trim(), scopes, ...(subject.trim() && { subject: subject.trim() }), ...(days && { expires_in_days: Number(days) }) };
    const { key } = await api.request("POST", `${path}/keys`, { body });
    return { title: "The new key", draw: (close) => html`<${Once} secret=${key} onClose=${close} />` };
  };
  return html`<${FormDialog} title="New key" verb="Create" onSend=${create} onClose=${onClose}>${(wrong) => html`
    <${Field} label="Name" hint="What it is for." error=${wrong("name")}>${(tied) => html`<input ...${tied} name="name" required maxlength="100" autocomplete="off" autofocus />`}<//>
    <fieldset class="field options"><legend class="name">It may</legend>
      ${Object.entries(SCOPES).map(([scope, [name, more]]) => html`<label class="option"><input type="checkbox" name=${scope} defaultChecked /><span><strong>${name}</strong><span class="small quiet">${more}</span></span></label>`)}
      ${wrong("scopes") && html`<p class="error" role="alert">${wrong("scopes")}</p>`}</fieldset>
    <div class="pair"><${Field} label="End user" optional hint="Only this one’s jobs." error=${wrong("subject")}>${(tied) => html`<input ...${tied} name="subject" maxlength="255" autocomplete="off" />`}<//>
      <${Field} label="Works for days" optional error=${wrong("expires_in_days")}>${(tied) => html`<input ...${tied} type="number" name="expires_in_days" max="3650" min="1" step="1" placeholder="for good" />`}<//></div>`}<//>`;
}

function Once({ secret, onClose }) {
  const field = useRef();
  const [said, setSaid] = useState("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(secret);
      setSaid("Copied.");
    } catch {
      field.current.select();
      setSaid("The browser does not let this page copy. It is selected: copy it with the keyboard.");
    }
  };
  return html`<div class="stack">
    <${Notice} kind="warn">It is shown this once, and nobody can read it again. Put it where it will be used.<//>
    <${Field} label="Key">${(tied) => html`<input ...${tied} ref=${field} class="code" readonly value=${secret} spellcheck="false" onFocus=${({ target }) => target.select()} />`}<//>
    <p class="small" role="status">${said || "\u00a0"}</p>
    <div class="row end-row"><button type="button" class="button" onClick=${onClose}>Done</button><button type="button" class="main" autofocus onClick=${copy}>Copy</button></div></div>`;
}
