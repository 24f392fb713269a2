// Save a picture with alpha, or a recording, with alpha if the browser can write it.

const KINDS = ["video/webm;codecs=vp9", "video/webm;codecs=vp8"]; // the two types with alpha
const OPAQUE = "video/mp4";

export async function savePng(canvas, name) {
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  download(blob, `${name}.png`);
}

/** A recording in progress. */
export class Recording {
  #recorder;
  #parts = [];

  /** Return the type that the browser can record, with alpha if possible, or null if it cannot record. */
  static get kind() {
    const supported = (kind) => typeof MediaRecorder !== "undefined" && MediaRecorder.isTypeSupported(kind);
    const alpha = KINDS.find(supported);
    return alpha ? { type: alpha, alpha: true } : supported(OPAQUE) ? { type: OPAQUE, alpha: false } : null;
  }

  constructor(canvas, { type }) {
    this.#recorder = new MediaRecorder(canvas.captureStream(), { mimeType: type, videoBitsPerSecond: 12e6 });
    this.#recorder.ondataavailable = ({ data }) => this.#parts.push(data);
    this.#recorder.start(1000);
  }

  async save(name) {
    const recorder = this.#recorder;
    await new Promise((resolve) => {
      recorder.onstop = resolve;
      recorder.stop();
    });
    recorder.stream.getTracks().forEach((track) => track.stop());
    const suffix = recorder.mimeType.startsWith("video/webm") ? "webm" : "mp4";
    download(new Blob(this.#parts, { type: recorder.mimeType }), `${name}.${suffix}`);
  }
}

function download(blob, name) {
  const href = URL.createObjectURL(blob);
  Object.assign(document.createElement("a"), { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
}
