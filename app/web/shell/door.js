// The door: a key, a client token, or an access token of the identity provider.

import { Field, html, useEffect, useRef, useState } from "./ui.js";
import { simulated, takesSignIns } from "./page.js";
import { signIn } from "./session.js";

/** `reason` says why somebody stands here again. */
export function Door({ reason, onEnter }) {
  const [error, setError] = useState(reason);
  const [busy, setBusy] = useState(false);
  const key = useRef();
  const keep = useRef();
  useEffect(() => { if (reason) key.current.focus(); }, []);
  const enter = async (event) => {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    setError("");
    try {
      onEnter(await signIn(key.current.value.trim(), { keep: keep.current.checked }));
    } catch (refusal) {
      setBusy(false);
      setError(refusal.message);
      key.current.focus();
    }
  };
  return html`<div class="door">
    <img class="hero" src="web/sample.jpg" alt="A sailboat on a still lake at sunset" width="1280" height="720" />
    <form id="sign-in" class="card stack" onSubmit=${enter}>
      <h1 class="display" tabindex="-1">A still image, set in motion</h1>
      <p class="quiet">Paste a key to begin. ${simulated && "The development key was printed when Reelay started."}</p>
      <${Field} label=${takesSignIns ? "Key, client token or access token" : "Key or client token"} error=${error}
        hint=${takesSignIns && "An access token of your company’s identity provider works as a key does."}>
        ${(tied) => html`<input ...${tied} ref=${key} type="password" placeholder="rly_…" autocomplete="off" autocapitalize="none" spellcheck="false" required />`}
      <//>
      <div class="tick">
        <input id="keep" type="checkbox" ref=${keep} aria-describedby="keep-hint" />
        <label for="keep">Keep it until this tab closes</label>
        <p id="keep-hint" class="hint">While it is kept, whoever uses this tab can spend with it.</p>
      </div>
      <button class="main" type="submit" aria-disabled=${busy}>${busy ? "Signing in…" : "Sign in"}</button>
    </form>
  </div>`;
}
