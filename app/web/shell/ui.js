// What every view is written with: Preact's parts under one roof, and the pieces that look the same everywhere.

import { Fragment, h, render } from "../vendor/preact.js";
import { useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from "../vendor/hooks.js";
import htm from "../vendor/htm.js";

export { Fragment, h, render, useEffect, useId, useLayoutEffect, useMemo, useRef, useState };
export const html = htm.bind(h);

/** A message that stays: `kind` is "info", "warn" or "bad". Bad ones are read out at once. */
export const Notice = ({ kind = "info", title, children }) => html`
  <div class=${`notice ${kind}`} role=${kind === "bad" ? "alert" : undefined}>
    ${title && html`<strong>${title}</strong>`}
    <div>${children}</div>
  </div>`;

/** What stands where there is nothing yet. */
export const Empty = ({ title, children }) => html`
  <div class="empty"><p class="empty-title">${title}</p>${children}</div>`;

/** What stands where something is on its way; it holds the place, so that nothing jumps. */
export const Loading = ({ lines = 3, label = "Loading…" }) => html`
  <div class="loading" role="status"><span class="unseen">${label}</span>
    ${Array.from({ length: lines }, () => html`<span class="bone"></span>`)}</div>`;

/** What went wrong with loading, and a button that tries again. */
export const Failed = ({ error, again }) => html`
  <${Notice} kind="bad">${error.message} ${again && html`<button type="button" class="link" onClick=${again}>Try again</button>`}<//>`;

/** A labelled control. `children` is a function that gets what the control needs to be tied to label, hint and error. */
export function Field({ label, hint, error, optional, children }) {
  const id = useId();
  const described = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ") || undefined;
  return html`<div class="field">
    <label class="name" for=${id}>${label}${optional && html` <span class="quiet">optional</span>`}</label>
    ${children({ id, "aria-describedby": described, "aria-invalid": error ? "true" : undefined })}
    ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
    ${error && html`<p class="error" id=${`${id}-error`}>${error}</p>`}
  </div>`;
}

/** Runs `load` now and whenever `keys` change; returns what came of it: `{data, error, again, put}`. */
export function useLoaded(load, keys) {
  const [state, set] = useState({});
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const call = new AbortController();
    set((before) => ({ data: before.data }));
    load({ signal: call.signal }).then(
      (data) => call.signal.aborted || set({ data }),
      (error) => call.signal.aborted || set((before) => ({ ...before, error })),
    );
    return () => call.abort();
  }, [...keys, turn]);
  return { ...state, again: () => setTurn(turn + 1), put: (data) => set({ data }) };
}
