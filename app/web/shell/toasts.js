// Short messages that come and go, and what a screen reader hears of changes elsewhere on the page.

import { html, useEffect, useState } from "./ui.js";

const SECONDS = 6;
let show = () => {};
let speak = () => {};

/** Shows a message for a while, and has it read out. */
export const toast = (message, kind = "info") => show({ message, kind });
/** Has a message read out, without showing it. */
export const announce = (message) => speak(message);

export function Toasts() {
  const [toasts, set] = useState([]);
  const [spoken, setSpoken] = useState("");
  useEffect(() => {
    show = (toast) => {
      const one = { ...toast, key: crypto.randomUUID?.() ?? Math.random() };
      set((all) => [...all.slice(-2), one]);
      setTimeout(() => set((all) => all.filter((other) => other !== one)), SECONDS * 1000);
    };
    speak = (message) => setSpoken(message);
  }, []);
  return html`<div class="toasts" role="status" aria-live="polite">
      ${toasts.map(({ message, kind, key }) => html`<p key=${key} class=${`toast ${kind}`}>${message}</p>`)}
    </div>
    <p class="unseen" role="status" aria-live="polite">${spoken}</p>`;
}
