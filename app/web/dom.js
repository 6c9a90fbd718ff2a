// The document at hand: its elements, its templates, and what it was told when it was served.

const told = (name) => document.querySelector(`meta[name=reelay-${name}]`).content;

export const simulated = told("mode") === "sandbox";
export const maxImageBytes = Number(told("max-image-bytes"));
export const $ = (id) => document.getElementById(id);
export const copy = (id) => $(id).content.firstElementChild.cloneNode(true);

/** Writes a message, or takes it away. */
export function say(place, message) {
  place.textContent = message;
  place.hidden = !message;
}
