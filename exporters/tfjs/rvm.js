// Plays a TensorFlow.js model of Robust Video Matting: a frame goes in, its foreground and alpha come out, and the four
// recurrent states are kept in between. An ES module that imports nothing: bring a TensorFlow.js and a backend.
//
//   import * as tf from "@tensorflow/tfjs";
//   import { Matting } from "./rvm.js";
//
//   const matting = await Matting.load(tf, "./model.json");
//   const { fgr, pha } = matting.matte(video);          // tensors, yours to dispose of
//   const pixels = await matting.pixels(video);         // or RGBA bytes
//   await matting.draw(video, canvas);                  // or straight onto a canvas, with transparency
//   matting.reset();                                    // before another clip, or after a cut
//
// For a model of coefficients, full_size.js and full_size_webgpu.js must lie beside this file. Such a model has no `matte`.
// On the backend webgpu, `draw` reads nothing of it back.

const STATES = ["r1", "r2", "r3", "r4"];

export class Matting {
  #tf;
  #model;
  #stage;
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
   * @param {{downsampleRatio?: number | null, onLost?: () => void}} options `onLost` is for a model of coefficients: it is
   *   called when the graphics driver frees the memory of the shaders. The object is of no use afterwards.
   * @returns {Promise<Matting>}
   */
  static async load(tf, source, { downsampleRatio = null, onLost } = {}) {
    const model = await tf.loadGraphModel(source);
    const stage = "A" in model.modelSignature.outputs ? await stageOf(tf, onLost) : null;
    return new Matting(tf, model, { downsampleRatio, stage });
  }

  /**
   * @param model A graph model that is loaded already; it is disposed of with this object.
   * @param {{downsampleRatio?: number | null, stage?: FullSize | FullSizeWebGpu | null}} options `stage` is for a model of
   *   coefficients.
   */
  constructor(tf, model, { downsampleRatio = null, stage = null } = {}) {
    this.#tf = tf;
    this.#model = model;
    this.#stage = stage;
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
   * @throws {Error} The model is one of coefficients.
   */
  matte(frame) {
    const tf = this.#tf;
    if (this.#stage) {
      throw new Error("a model of coefficients gives no tensors of full size; call pixels or draw");
    }
    const outputs = tf.tidy(() => {
      const src = this.#toTensor(frame);
      const [batch, height, width] = src.shape;
      if (batch !== 1) {
        throw new RangeError(`there are ${batch} frames; give one after the other, or each its own Matting`);
      }
      const ratio = this.#ratioOf(height, width);
      this.#resetIfOther(`${width}x${height} ${ratio}`);
      return this.#execute({ src, downsample_ratio: tf.scalar(ratio) }, ["fgr", "pha"]);
    });
    const [fgr, pha] = outputs;
    return { fgr, pha };
  }

  /**
   * One frame, as RGBA bytes of its size: the foreground's colour, not premultiplied, and alpha.
   *
   * @param frame As for `matte`; no tensor if the model is one of coefficients.
   * @returns {Promise<ImageData>}
   */
  async pixels(frame) {
    const tf = this.#tf;
    if (this.#stage) {
      return this.#pixelsOfLine(frame);
    }
    const pixels = tf.tidy(() => {
      const { fgr, pha } = this.matte(frame);
      return tf.concat([fgr, pha], -1).mul(255).round().squeeze([0]).cast("int32");
    });
    const [height, width] = pixels.shape;
    const data = await pixels.data();
    pixels.dispose();
    return new ImageData(new Uint8ClampedArray(data), width, height);
  }

  /**
   * One frame, drawn onto a canvas of its size: the foreground's colour, with alpha as the canvas's transparency.
   *
   * @param frame As for `pixels`.
   * @param {HTMLCanvasElement | OffscreenCanvas} canvas For a model of coefficients on WebGPU, one without a 2D context.
   */
  async draw(frame, canvas) {
    if (this.#stage?.draw) {
      await this.#onGpu(frame, (A, b) => this.#stage.draw(A, b, canvas));
      return;
    }
    const image = await this.pixels(frame);
    canvas.width = image.width;
    canvas.height = image.height;
    canvas.getContext("2d").putImageData(image, 0, 0);
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
    this.#stage?.dispose();
    this.#model.dispose();
  }

  /** Run the model; call it in a tidy. Return the wanted outputs, and keep the states. */
  #execute(inputs, wanted) {
    const tf = this.#tf;
    STATES.forEach((name, k) => (inputs[`${name}i`] = this.#states[k]));
    const outputs = this.#model.execute(inputs, [...wanted, ...STATES.map((name) => `${name}o`)]);
    tf.dispose(this.#states);
    this.#states = outputs.splice(wanted.length).map(tf.keep); // or a caller's tf.tidy would take them away
    return outputs;
  }

  async #pixelsOfLine(frame) {
    const tf = this.#tf;
    const [width, height] = sizeOf(frame);
    if (this.#stage.draw) {
      return new ImageData(await this.#onGpu(frame, (A, b) => this.#stage.pixels(A, b)), width, height);
    }
    const small = this.#reduce(frame);
    const line = tf.tidy(() => {
      const src = tf.tensor(small.data, [3, small.height, small.width], "float32").transpose([1, 2, 0]).expandDims(0);
      return this.#execute({ src }, ["A", "b"]);
    });
    const [A, b] = await Promise.all(line.map((each) => each.data()));
    tf.dispose(line);
    return new ImageData(this.#stage.finish(A, b, { channelsLast: true }), width, height);
  }

  /** Run a model of coefficients on WebGPU. Call `finish` with the buffers of its line, and return its result. */
  async #onGpu(frame, finish) {
    const tf = this.#tf;
    const { buffer, width, height } = this.#reduce(frame);
    const line = tf.tidy(() => {
      const src = tf.tensor({ buffer, zeroCopy: true }, [1, height, width, 3], "float32");
      return this.#execute({ src }, ["A", "b"]);
    });
    const copies = line.map((each) => each.dataToGPU());
    try {
      return await finish(...copies.map((each) => each.buffer));
    } finally {
      tf.dispose([line, copies.map((each) => each.tensorRef)]);
    }
  }

  /** Reduce a frame by the shaders. Reset the states if it has another size than the one before. */
  #reduce(frame) {
    const [width, height] = sizeOf(frame);
    const ratio = this.#ratioOf(height, width);
    this.#resetIfOther(`${width}x${height} ${ratio}`);
    return this.#stage.reduce(frame, ratio);
  }

  #toTensor(frame) {
    const tf = this.#tf;
    if (frame instanceof tf.Tensor) {
      return frame.rank === 4 ? frame : frame.expandDims(0);
    }
    sizeOf(frame);
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

/** Return the full-size steps for the backend that runs. `onLost` is called when the graphics driver frees their memory. */
async function stageOf(tf, onLost = () => {}) {
  if (tf.getBackend() !== "webgpu") {
    return new (await import("./full_size.js")).FullSize(onLost);
  }
  const { FullSizeWebGpu } = await import("./full_size_webgpu.js");
  const { device } = tf.backend();
  device.lost.then(onLost);
  return new FullSizeWebGpu(device, { channelsLast: true });
}

/** Width and height of a frame that is no tensor. Throws RangeError if it has no pixels. */
function sizeOf(frame) {
  const width = frame.videoWidth ?? frame.displayWidth ?? frame.naturalWidth ?? frame.width;
  const height = frame.videoHeight ?? frame.displayHeight ?? frame.naturalHeight ?? frame.height;
  if (!width || !height) {
    throw new RangeError("the frame has no pixels: wait until the video or picture has loaded");
  }
  return [width, height];
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
