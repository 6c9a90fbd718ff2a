// Dialogs that ask before something is done. The browser's own element keeps the focus inside, and gives it back.

import { html, Notice, useId, useLayoutEffect, useRef, useState } from "../shell/ui.js";

/** `children` is a function that gets `close`. */
function Dialog({ title, onClose, children }) {
  const id = useId();
  const shown = useRef();
  useLayoutEffect(() => shown.current.showModal(), []);
  return html`<dialog ref=${shown} class="ask" aria-labelledby=${id} onClose=${onClose}>
    <h2 id=${id}>${title}</h2>${children(() => shown.current.close())}</dialog>`;
}

/**
 * A form in a dialog. `onSend` gets the form's fields and may throw; `children` gets a function that tells what was wrong
 * with a field. If `onSend` returns a function, that draws the dialog from then on; else the dialog closes.
 */
export function FormDialog({ title, verb, danger, onSend, onClose, children }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const [after, setAfter] = useState(null);
  const named = useRef(new Set());
  const wrong = (field) => {
    named.current.add(field);
    return error?.param === field ? error.message : undefined;
  };
  return html`<${Dialog} title=${after?.title ?? title} onClose=${onClose}>${(close) => {
    if (after) return after.draw(close);
    const send = async (event) => {
      event.preventDefault();
      if (busy) return;
      const form = event.currentTarget;
      setBusy(true);
      setError(null);
      try {
        const then = await onSend(Object.fromEntries(new FormData(form)));
        if (then?.draw) setAfter(then);
        else close();
      } catch (refusal) {
        setError(refusal);
        form.elements[refusal.param]?.focus?.();
      }
      setBusy(false);
    };
    return html`<form class="stack" onSubmit=${send}>
      ${typeof children === "function" ? children(wrong) : children}
      ${error && !named.current.has(error.param) && html`<${Notice} kind="bad">${error.message}<//>`}
      <div class="row end-row">
        <button type="button" class="button" onClick=${close}>Cancel</button>
        <button type="submit" class=${danger ? "main stop" : "main"} aria-disabled=${busy}>${busy ? "A moment…" : verb}</button>
      </div></form>`;
  }}<//>`;
}
