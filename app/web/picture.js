// A field for an image: dropped, pasted or chosen.

import { copy, maxImageBytes, say } from "./dom.js";

let picked = 0;

/** Makes the field of one image parameter. `serial` changes with every image picked. */
export class Picture {
  constructor(number) {
    this.element = copy("picture");
    this.input = this.element.querySelector("input");
    this.image = this.element.querySelector("img");
    this.chip = this.element.querySelector(".chip");
    this.error = this.element.querySelector(".error");
    this.input.id = `picture-${number}`;
    this.error.id = `picture-${number}-error`;
    this.input.setAttribute("aria-describedby", this.error.id);
    for (const label of this.element.querySelectorAll("label")) label.htmlFor = this.input.id;
    this.file = null;
    this.serial = 0;
    this.input.addEventListener("change", () => this.input.files[0] && this.take(this.input.files[0]));
    this.image.addEventListener("error", () => { this.image.hidden = true; });
    this.#acceptDrops(this.element.querySelector(".drop"));
  }

  set name(text) {
    this.element.querySelector(".name").textContent = text;
  }

  /** Shows the sample at once, and loads it for sending. */
  async takeSample(url) {
    this.#show(url, "Sample · drop, paste or choose another");
    const serial = this.serial;
    const file = await fetch(url).then((answer) => answer.blob());
    if (serial === this.serial) this.file = file;
  }

  take(file) {
    this.complain("");
    if (file.size > maxImageBytes) {
      return this.complain(`This image is larger than ${Math.floor(maxImageBytes / 1e6)} MB. Choose a smaller one.`);
    }
    this.file = file;
    this.#show(URL.createObjectURL(file), file.name || "Pasted image");
  }

  complain(message) {
    say(this.error, message);
    this.input.setAttribute("aria-invalid", String(Boolean(message)));
  }

  #show(url, note) {
    this.serial = ++picked;
    this.url = this.image.src = url;
    this.image.hidden = false;
    this.chip.textContent = note;
  }

  #acceptDrops(zone) {
    let depth = 0;
    const mark = (step) => zone.classList.toggle("over", (depth = Math.max(0, depth + step)) > 0);
    zone.addEventListener("dragenter", () => mark(1));
    zone.addEventListener("dragleave", () => mark(-1));
    zone.addEventListener("drop", (event) => {
      mark(-depth);
      const file = [...event.dataTransfer.files].find(isImage);
      if (file) this.take(file);
      else this.complain("Drop an image: a JPEG, PNG or WebP.");
    });
  }
}

export const isImage = (file) => file.type.startsWith("image/");

// A file that misses the field must not replace the page.
for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault());
