// Light, dark, or as the device has it. What is chosen is remembered by this browser; it is no secret.

import { html, useEffect, useState } from "./ui.js";
import { storage } from "./page.js";

const PLACE = "reelay-theme";
const wishedDark = matchMedia("(prefers-color-scheme: dark)");
const chosen = () => storage("localStorage")?.getItem(PLACE);

/** Applies what was chosen; without a choice the style sheets go by the device. */
export function applyTheme(theme = chosen()) {
  if (theme) document.documentElement.dataset.theme = theme;
}

export function ThemeButton() {
  const [theme, set] = useState(chosen() ?? (wishedDark.matches ? "dark" : "light"));
  useEffect(() => {
    const follow = () => chosen() || set(wishedDark.matches ? "dark" : "light");
    wishedDark.addEventListener("change", follow);
    return () => wishedDark.removeEventListener("change", follow);
  }, []);
  const other = theme === "dark" ? "light" : "dark";
  const change = () => {
    storage("localStorage")?.setItem(PLACE, other);
    applyTheme(other);
    set(other);
  };
  return html`<button type="button" class="icon-button" onClick=${change} aria-label=${`Use the ${other} theme`} title=${`Use the ${other} theme`}>
    <svg viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">${
      theme === "dark"
        ? html`<circle cx="10" cy="10" r="3.5" /><path d="M10 2v2m0 12v2M2 10h2m12 0h2M4.3 4.3l1.4 1.4m8.6 8.6 1.4 1.4m0-11.4-1.4 1.4m-8.6 8.6-1.4 1.4" />`
        : html`<path d="M16.5 12.2A7 7 0 0 1 7.8 3.5a7 7 0 1 0 8.7 8.7z" />`
    }</svg></button>`;
}
