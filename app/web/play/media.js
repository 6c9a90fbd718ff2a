// A picture, video or sound that goes into a job: the sample, a file of this device, an upload made before, or a link.

import { api, authorization } from "../shell/session.js";
import { maxImageBytes } from "../shell/page.js";

const KINDS = { image: /image|frame|mask|picture/, audio: /audio|sound/, video: /video/ };
export const kindOf = (name) => ["audio", "video", "image"].find((kind) => KINDS[kind].test(name)) ?? "image";
export const isMedia = (schema) => schema?.format === "uri" || Boolean(schema?.anyOf?.some((one) => one.format === "uri"));
export const ACCEPTED = {
  image: "image/jpeg,image/png,image/webp",
  video: "video/mp4,video/quicktime,video/webm,video/x-matroska",
  audio: "audio/*",
};

export class Media {
  /** `url` shows it; `sent` is what goes into the input: a file's id, a link, or (the sample) the bytes themselves. */
  constructor(url, { name = "", sent = null, blob = null } = {}) {
    Object.assign(this, { url, name, sent, blob });
  }

  static ofLink(link) {
    return new Media(link, { name: link, sent: link });
  }

  /** An upload made before, shown from its bytes. */
  static async ofFile(id) {
    const answer = await fetch(`v1/files/${id}/content`, { headers: authorization() }).catch(() => null);
    const blob = answer?.ok ? await answer.blob() : null;
    return new Media(blob ? URL.createObjectURL(blob) : "", { name: blob ? "As before" : "An upload that is gone", sent: id, blob });
  }

  /** A file of this device. Throws a sentence if it cannot be taken. */
  static ofBlob(blob, name) {
    if (blob.type.startsWith("image/") && blob.size > maxImageBytes) {
      throw new Error(`This image is larger than ${Math.floor(maxImageBytes / 1e6)} MB. Choose a smaller one.`);
    }
    return new Media(URL.createObjectURL(blob), { name, blob });
  }

  /** Uploads it, once. */
  async upload() {
    this.uploading ??= api.upload(this.blob).then(({ id }) => { this.sent = id; });
    try {
      await this.uploading;
    } catch (error) {
      this.uploading = null;
      throw error;
    }
    return this;
  }

  /** What stands in the input. */
  async given() {
    if (this.sent) return this.sent;
    this.blob ??= await fetch(this.url).then((answer) => answer.blob());
    if (this.uploading) return (await this.upload()).sent;
    return this.blob;
  }
}

/** The last frame of a video as a picture. Throws if the browser may not read it. */
export async function lastFrame(video) {
  const copy = document.createElement("video");
  Object.assign(copy, { muted: true, preload: "auto", src: video.currentSrc });
  await happens(copy, "loadedmetadata");
  copy.currentTime = Math.max(0, copy.duration - 0.05);
  await happens(copy, "seeked");
  const canvas = Object.assign(document.createElement("canvas"), { width: copy.videoWidth, height: copy.videoHeight });
  canvas.getContext("2d").drawImage(copy, 0, 0);
  copy.removeAttribute("src");
  copy.load();
  try {
    return Media.ofBlob(await jpeg(canvas), "Last frame");
  } catch {
    throw new Error("The browser may not read this video, which comes from another host. Download it and use a frame of it.");
  }
}

/** The middle of a picture, cut to a shape such as 16:9. */
export async function cropped(media, image, ratio) {
  const [width, height] = [image.naturalWidth, image.naturalHeight];
  const [w, h] = width / height > ratio ? [height * ratio, height] : [width, width / ratio];
  const canvas = Object.assign(document.createElement("canvas"), { width: Math.round(w), height: Math.round(h) });
  canvas.getContext("2d").drawImage(image, (width - w) / 2, (height - h) / 2, w, h, 0, 0, canvas.width, canvas.height);
  return Media.ofBlob(await jpeg(canvas), `${media.name.replace(/ \(cropped\)$/, "")} (cropped)`);
}

const jpeg = (canvas) => new Promise((take, fail) => canvas.toBlob((blob) => (blob ? take(blob) : fail(new Error("It has no picture."))), "image/jpeg", 0.92));
const happens = (element, name) => new Promise((take, fail) => {
  element.addEventListener(name, take, { once: true });
  element.addEventListener("error", () => fail(new Error("The video could not be read. Try again.")), { once: true });
});
