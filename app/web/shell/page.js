// What the page was told when it was served.

const told = (name) => document.querySelector(`meta[name=reelay-${name}]`).content;

/** In sandbox mode videos are simulated and free. */
export const simulated = told("mode") === "sandbox";
export const maxImageBytes = Number(told("max-image-bytes"));
/** Whether access tokens of an identity provider are taken. */
export const takesSignIns = told("sign-ins") === "yes";

/** Where something may be kept that outlives this view; nowhere if the browser forbids it. */
export function storage(kind) {
  try {
    return window[kind];
  } catch {
    return null;
  }
}
