// A field for a picture, video or sound: dropped, pasted, chosen, or named by a link.

import { html, useEffect, useId, useRef, useState } from "../shell/ui.js";
import { ACCEPTED, cropped, kindOf, Media } from "./media.js";

const NOUNS = { image: "an image", video: "a video", audio: "a sound" };

/** `ratio` is the shape of the video to be made, such as "16:9"; `pastes` whether a pasted picture goes here. */
export function MediaField({ name, label, value, error, required, ratio, pastes, onChange }) {
  const id = useId();
  const kind = kindOf(name);
  const [own, setOwn] = useState("");
  const [over, setOver] = useState(false);
  const [linking, setLinking] = useState(false);
  const [size, setSize] = useState(null);
  const image = useRef();
  const current = useRef();
  current.current = value;
  const wrong = own || error;
  const take = async (media) => {
    setOwn("");
    setLinking(false);
    setSize(null);
    onChange(media);
    try {
      await media.upload();
      if (current.current === media) onChange(media); // now the service knows it, and can price it
    } catch (refusal) {
      if (current.current === media) setOwn(refusal.message);
    }
  };
  const takeFile = (file) => {
    if (!file) return;
    if (!file.type.startsWith(`${kind}/`)) return setOwn(`Drop ${NOUNS[kind]} here${kind === "image" ? ": a JPEG, PNG or WebP" : ""}.`);
    try {
      take(Media.ofBlob(file, file.name || "Pasted"));
    } catch (refusal) {
      setOwn(refusal.message);
    }
  };
  useEffect(() => {
    if (!pastes) return undefined;
    const paste = (event) => takeFile([...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/")));
    document.addEventListener("paste", paste);
    return () => document.removeEventListener("paste", paste);
  });
  const drop = (event) => {
    event.preventDefault();
    setOver(false);
    takeFile(event.dataTransfer.files[0]);
  };
  const hint = kind === "image" && value && size && cropHint(size, ratio);
  return html`<div class="field media">
    <label class="name" for=${id}>${label}${!required && html` <span class="quiet">optional</span>`}</label>
    <input id=${id} name=${name} class="unseen" type="file" accept=${ACCEPTED[kind]} aria-invalid=${wrong ? "true" : undefined}
      aria-describedby=${`${id}-hint`} onChange=${(event) => { takeFile(event.target.files[0]); event.target.value = ""; }} />
    <label for=${id} class=${`drop ${value ? "" : "bare"} ${over ? "over" : ""}`} onDragEnter=${() => setOver(true)}
      onDragOver=${(event) => event.preventDefault()} onDragLeave=${() => setOver(false)} onDrop=${drop}>
      ${value && kind === "image" && html`<img ref=${image} src=${value.url} alt="" onLoad=${({ target }) => setSize([target.naturalWidth, target.naturalHeight])} onError=${() => setSize(null)} />`}
      ${hint && html`<span class="crop" style=${hint.frame}></span>`}
      <span class="chip">${value ? `${value.name} · drop, paste or choose another` : `Drop${pastes ? ", paste" : ""} or choose ${NOUNS[kind]}`}</span>
    </label>
    <div class="row small" id=${`${id}-hint`}>
      ${hint && html`<span class="quiet">${hint.text}</span>
        ${value.blob && html`<button type="button" class="link" onClick=${async () => take(await cropped(value, image.current, hint.ratio))}>Crop it to ${ratio}</button>`}`}
      <button type="button" class="link" aria-expanded=${linking} onClick=${() => setLinking(!linking)}>Use a link</button>
      ${value && html`<button type="button" class="link" onClick=${() => { setOwn(""); onChange(undefined); }}>Remove</button>`}
    </div>
    ${linking && html`<input class="box" type="url" aria-label=${`Link for ${label}`} placeholder=${`The address of ${NOUNS[kind]}`}
      onChange=${({ target }) => target.value.trim() && (onChange(Media.ofLink(target.value.trim())), setLinking(false))} />`}
    ${wrong && html`<p class="error" id=${`${id}-error`}>${wrong}</p>`}
  </div>`;
}

/** What of a picture lies outside of the video's shape, and the frame that shows it; null if it fits. */
function cropHint([width, height], ratio) {
  const [w, h] = (ratio ?? "").split(":").map(Number);
  if (!(w > 0 && h > 0)) return null;
  const wanted = w / h;
  const actual = width / height;
  const share = Math.min(actual / wanted, wanted / actual);
  if (share > 0.97) return null;
  const wide = actual > wanted;
  const cut = Math.round((1 - share) * 100);
  // The picture lies in a field of 16:9, as large as it fits.
  const field = 16 / 9;
  const shown = actual > field ? [1, field / actual] : [actual / field, 1];
  const frame = [shown[0] * (wide ? share : 1), shown[1] * (wide ? 1 : share)];
  return {
    ratio: wanted,
    frame: { width: `${frame[0] * 100}%`, height: `${frame[1] * 100}%` },
    text: `The video is ${ratio}: about ${cut} % of this image may be cut off, ${wide ? "left and right" : "above and below"}.`,
  };
}
