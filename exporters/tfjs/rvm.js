// Plays a TensorFlow.js model of Robust Video Matting: a frame goes in, its foreground and alpha come out, and the four
// recurrent states are kept in between. An ES module that imports nothing: bring a TensorFlow.js and a backend.
//
//   import * as tf from "@tensorflow/tfjs";
//   import { Matting } from "./rvm.js";
//
//   const matting = await Matting.load(tf, "./model.json");
//   const { fgr, pha } = matting.matte(video);          // tensors, yours to dispose of
//   await matting.draw(video, canvas);                  // or straight onto a canvas, with transparency
//   matting.reset();                                    // before another clip, or after a cut

const STATES = ["r1", "r2", "r3", "r4"];
const OUTPUTS = ["fgr", "pha", "r1o", "r2o", "r3o", "r4o"];

export class Matting {
  #tf;
  #model;
  #states = [];
  #size = "";

  /**
   * The downsample ratio in (0, 1], or null for the one that brings the longer side of a frame to 512 pixels.
   * @type {number | null}
   */
  downsampleRatio;

  /**
   * Load a model.
   *
   * @param tf TensorFlow.js, with the backend already set.
   * @param source Where the model is: what `tf.loadGraphModel` takes.
   * @param {{downsampleRatio?: number | null}} options
   * @returns {Promise<Matting>}
   */
  static async load(tf, source, { downsampleRatio = null } = {}) {
    return new Matting(tf, await tf.loadGraphModel(source), { downsampleRatio });
  }

  /** @param model A graph model that is loaded already; it is disposed of with this object. */
  constructor(tf, model, { downsampleRatio = null } = {}) {
    this.#tf = tf;
    this.#model = model;
    this.downsampleRatio = downsampleRatio;
    this.reset();
  }

  /**
   * One frame.
   *
   * @param frame A video, canvas, picture, ImageBitmap, ImageData or VideoFrame; or a float32 tensor (H, W, 3) or
   *   (1, H, W, 3), RGB in [0, 1], which stays the caller's.
   * @returns {{fgr: Tensor, pha: Tensor}} Foreground (1, H, W, 3), not premultiplied, and opacity (1, H, W, 1), float32
   *   in [0, 1]. They are the caller's to dispose of.
   * @throws {RangeError} The frame has no pixels yet, there are several, the ratio is not in (0, 1], or leaves no pixel.
   */
  matte(frame) {
    const tf = this.#tf;
    const outputs = tf.tidy(() => {
      const src = this.#toTensor(frame);
      const [batch, height, width] = src.shape;
      if (batch !== 1) {
        throw new RangeError(`there are ${batch} frames; give one after the other, or each its own Matting`);
      }
      const ratio = this.#ratioOf(height, width);
      this.#resetIfOther(`${width}x${height} ${ratio}`);
      const inputs = { src, downsample_ratio: tf.scalar(ratio) };
      STATES.forEach((name, k) => (inputs[`${name}i`] = this.#states[k]));
      return this.#model.execute(inputs, OUTPUTS);
    });
    const [fgr, pha, ...states] = outputs;
    tf.dispose(this.#states);
    this.#states = states.map(tf.keep); // or a caller's tf.tidy would take them away
    return { fgr, pha };
  }

  /**
   * One frame, drawn onto a canvas of its size: the foreground's colour, with alpha as the canvas's transparency.
   *
   * @param frame As for `matte`.
   * @param {HTMLCanvasElement | OffscreenCanvas} canvas
   */
  async draw(frame, canvas) {
    const tf = this.#tf;
    const pixels = tf.tidy(() => {
      const { fgr, pha } = this.matte(frame);
      return tf.concat([fgr, pha], -1).mul(255).round().squeeze([0]).cast("int32");
    });
    const [height, width] = pixels.shape;
    const data = await pixels.data();
    pixels.dispose();
    canvas.width = width;
    canvas.height = height;
    canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(data), width, height), 0, 0);
  }

  /**
   * The four recurrent states, finest first, as the last frame left them: (1, h, w, channels), in about [-1, 1]. They
   * stay this object's own, until the next frame; a scalar before the first.
   * @returns {Tensor[]}
   */
  get states() {
    return [...this.#states];
  }

  /** Forget the frames before: the next is the first of a clip. */
  reset() {
    this.#tf.dispose(this.#states);
    this.#states = STATES.map(() => this.#tf.keep(this.#tf.scalar(0)));
    this.#size = "";
  }

  /** Give back all memory. The object is of no use afterwards. */
  dispose() {
    this.#tf.dispose(this.#states);
    this.#states = [];
    this.#model.dispose();
  }

  #toTensor(frame) {
    const tf = this.#tf;
    if (frame instanceof tf.Tensor) {
      return frame.rank === 4 ? frame : frame.expandDims(0);
    }
    const width = frame.videoWidth ?? frame.displayWidth ?? frame.naturalWidth ?? frame.width;
    if (!width) {
      throw new RangeError("the frame has no pixels: wait until the video or picture has loaded");
    }
    return tf.browser.fromPixels(onCanvas(frame)).expandDims(0).toFloat().div(255);
  }

  #ratioOf(height, width) {
    const ratio = this.downsampleRatio ?? Math.min(512 / Math.max(height, width), 1);
    if (!(ratio > 0 && ratio <= 1)) {
      throw new RangeError(`the downsample ratio is ${ratio}; give a number in (0, 1], or null`);
    }
    if (Math.floor(Math.min(height, width) * ratio) < 1) {
      throw new RangeError(`the downsample ratio ${ratio} leaves no pixel of ${width}x${height}; give a larger one`);
    }
    return ratio;
  }

  /** States are as large as the frame and the ratio make them: those of another size are of no use. */
  #resetIfOther(size) {
    if (this.#size !== size && this.#size !== "") {
      this.reset();
    }
    this.#size = size;
  }
}

/** A VideoFrame, which TensorFlow.js does not take, as a canvas, which it does; anything else as it is. */
function onCanvas(frame) {
  if (typeof VideoFrame === "undefined" || !(frame instanceof VideoFrame)) {
    return frame;
  }
  const canvas = new OffscreenCanvas(frame.displayWidth, frame.displayHeight);
  canvas.getContext("2d").drawImage(frame, 0, 0);
  return canvas;
}
