// Run an ONNX file in the worker with onnxruntime-web: for any size or for one, with floats, half floats or bytes, of
// mattes or of coefficients.

import { FullSize } from "./full_size.js";
import { FullSizeWebGpu } from "./full_size_webgpu.js";

const LIB = new URL("./lib/", import.meta.url).href;
const MODULES = { wasm: "ort.wasm.min.mjs", webgpu: "ort.webgpu.min.mjs" };
const STATES = ["r1", "r2", "r3", "r4"];

/** Load the model and return its player. `onLost` is called when the graphics driver frees the memory of its shaders. */
export async function open(model, backend, onLost, threads) {
  const ort = await import(`${LIB}${MODULES[backend]}`);
  ort.env.wasm.wasmPaths = LIB;
  ort.env.wasm.numThreads = threads ?? ort.env.wasm.numThreads;
  const { fixed, inputs } = model;
  const ofLine = model.outputs.includes("A");
  const onGpu = ofLine && backend === "webgpu" && inputs.src.dtype === "float32"; // shaders do not read half floats
  const stage = ofLine && !onGpu ? new FullSize(onLost) : null;
  if (model.precision === "fp16" && typeof Float16Array === "undefined") {
    throw new Error("this browser has no half floats; choose a file of precision fp32");
  }
  const kept = backend === "webgpu" ? { preferredOutputLocation: locations(onGpu) } : {};
  const session = await ort.InferenceSession.create(new URL(model.address, import.meta.url).href, {
    executionProviders: [backend],
    logSeverityLevel: 3, // errors only: hides the warning that shapes are computed on the CPU
    ...kept,
  });
  const device = onGpu ? await ort.env.webgpu.device : null;
  device?.lost.then(onLost);
  const gpuStage = onGpu ? new FullSizeWebGpu(device) : null;
  const canvas = new OffscreenCanvas(1, 1);
  const toTensor = inputs.src.dtype === "uint8" ? bytesOf : planesOf;
  const order = model.metadata.channel_order === "BGR" ? [2, 1, 0] : [0, 1, 2];
  let states = [];
  let size = "";

  function reset() {
    states.forEach((state) => state.dispose());
    states = STATES.map((name) => {
      const { dtype, shape } = inputs[`${name}i`];
      const dims = fixed ? shape : [1, 1, 1, 1];
      return new ort.Tensor(dtype, zeros(dtype, dims), dims);
    });
    size = "";
  }
  reset();

  /** Run one frame. `shape` is the size and ratio by which the states' size is decided. */
  async function run(shape, feeds) {
    if (size !== "" && size !== shape) {
      reset();
    }
    size = shape;
    const given = await session.run({ ...feeds, ...Object.fromEntries(STATES.map((name, k) => [`${name}i`, states[k]])) });
    states.forEach((state) => state.dispose());
    states = STATES.map((name) => given[`${name}o`]);
    return given;
  }

  /** A file of one size gets the frame scaled, and the matte is scaled back. */
  async function fromMatte(frame, ratio) {
    const { width, height } = frame;
    const fitted = fixed ? scaled(frame, fixed.width, fixed.height) : frame;
    const feeds = { src: toTensor(ort, fitted, inputs.src.dtype, order) };
    if (!fixed) {
      feeds.downsample_ratio = new ort.Tensor("float32", [ratio], [1]);
    }
    const given = await run(`${fitted.width}x${fitted.height} ${ratio}`, feeds);
    const pixels = toPixels(fitted, given.fgr, given.pha, order);
    return fixed ? restored(pixels, fitted, width, height) : pixels;
  }

  function reduction({ width, height }, ratio) {
    const whole = fixed?.width === width && fixed?.height === height;
    return whole ? fixed.ratio : fixed ? inputs.src.shape.slice(2).reverse() : ratio;
  }

  /** Run a file of coefficients on WebGPU. Call `finish` with the buffers of its line, and return its result. */
  async function withLine(frame, ratio, finish) {
    const by = reduction(frame, ratio);
    const { buffer, width, height } = gpuStage.reduce(frame, by);
    const src = ort.Tensor.fromGpuBuffer(buffer, { dataType: "float32", dims: [1, 3, height, width] });
    const { A, b } = await run(`${frame.width}x${frame.height} ${by}`, { src });
    const finished = await finish(A.gpuBuffer, b.gpuBuffer);
    [A, b].forEach((each) => each.dispose());
    return finished;
  }

  async function fromLineOnGpu(frame, ratio) {
    return withLine(frame, ratio, (A, b) => gpuStage.pixels(A, b));
  }

  /** Return a frame's matte as a picture that stays on the GPU. */
  async function drawn(frame, ratio) {
    await withLine(frame, ratio, (A, b) => {
      gpuStage.draw(A, b, canvas);
      return device.queue.onSubmittedWorkDone(); // else only the submission would be timed
    });
    return canvas.transferToImageBitmap();
  }

  /** A file of coefficients gets the frame at the internal size. The shaders do the rest. */
  async function fromLine(frame, ratio) {
    const by = reduction(frame, ratio);
    const { data, width, height } = stage.reduce(frame, by);
    const { dtype } = inputs.src;
    const src = new ort.Tensor(dtype, dtype === "float16" ? Float16Array.from(data) : data, [1, 3, height, width]);
    const { A, b } = await run(`${frame.width}x${frame.height} ${by}`, { src });
    return stage.finish(...[A, b].map((each) => (dtype === "float16" ? Float32Array.from(each.data) : each.data)));
  }

  return {
    about: { threads: backend === "wasm" ? ort.env.wasm.numThreads : 1 },

    /** Return a frame's foreground and alpha as RGBA bytes. */
    matte: onGpu ? fromLineOnGpu : stage ? fromLine : fromMatte,

    /** Return a frame's cut-out as an ImageBitmap, without reading anything back; null if this is not possible. */
    draw: onGpu ? drawn : null,

    states() {
      return Promise.all(
        states.map(async (state) => {
          const [, channels, height, width] = state.dims;
          const data = state.location === "gpu-buffer" ? await state.getData() : state.data;
          return { data, channels, height, width, strides: [height * width, width, 1] };
        }),
      );
    },

    memory() {
      return null; // onnxruntime-web does not report it
    },

    reset,
  };
}

/** Return the locations of outputs on WebGPU: the states stay on the GPU, and so does the line if shaders take it there. */
function locations(onGpu) {
  const names = [...STATES.map((name) => `${name}o`), ...(onGpu ? ["A", "b"] : [])];
  return Object.fromEntries(names.map((name) => [name, "gpu-buffer"]));
}

function zeros(dtype, dims) {
  const length = dims.reduce((product, axis) => product * axis, 1);
  return dtype === "float16" ? new Float16Array(length) : new Float32Array(length);
}

/** Return a frame as a tensor (1, 3, H, W), in [0, 1]. */
function planesOf(ort, { data, width, height }, dtype) {
  const area = width * height;
  const planes = dtype === "float16" ? new Float16Array(3 * area) : new Float32Array(3 * area);
  for (let k = 0; k < area; k++) {
    planes[k] = data[4 * k] / 255;
    planes[area + k] = data[4 * k + 1] / 255;
    planes[2 * area + k] = data[4 * k + 2] / 255;
  }
  return new ort.Tensor(dtype, planes, [1, 3, height, width]);
}

/** Return a frame as a tensor (1, H, W, 3), 0 to 255, in the file's order of channels. */
function bytesOf(ort, { data, width, height }, dtype, order) {
  const bytes = new Uint8Array(3 * width * height);
  for (let k = 0; k < width * height; k++) {
    order.forEach((from, to) => (bytes[3 * k + to] = data[4 * k + from]));
  }
  return new ort.Tensor(dtype, bytes, [1, height, width, 3]);
}

/** Return RGBA bytes. If the file gives no foreground, the colours are the frame's. */
function toPixels(frame, fgr, pha, order) {
  const area = frame.width * frame.height;
  const pixels = new Uint8ClampedArray(frame.data);
  const opacity = pha.data;
  const colour = fgr?.data;
  const bytes = pha.type === "uint8";
  const scale = bytes ? 1 : 255;
  const [pixel, channel] = bytes ? [3, 1] : [1, area];
  for (let k = 0; k < area; k++) {
    pixels[4 * k + 3] = opacity[k] * scale;
    for (let c = 0; colour && c < 3; c++) {
      pixels[4 * k + c] = colour[pixel * k + channel * (bytes ? order[c] : c)] * scale;
    }
  }
  return pixels;
}

function scaled(image, width, height) {
  if (image.width === width && image.height === height) {
    return image;
  }
  const from = new OffscreenCanvas(image.width, image.height);
  from.getContext("2d").putImageData(image, 0, 0);
  const to = new OffscreenCanvas(width, height).getContext("2d");
  to.imageSmoothingQuality = "high";
  to.drawImage(from, 0, 0, width, height);
  return to.getImageData(0, 0, width, height);
}

/** Scale colour and alpha separately, since a canvas loses the colour of transparent pixels. */
function restored(pixels, { width, height }, toWidth, toHeight) {
  if (width === toWidth && height === toHeight) {
    return pixels;
  }
  const colour = new ImageData(new Uint8ClampedArray(pixels), width, height);
  const alpha = new ImageData(width, height);
  for (let k = 3; k < pixels.length; k += 4) {
    colour.data[k] = 255;
    alpha.data.fill(pixels[k], k - 3, k);
    alpha.data[k] = 255;
  }
  const { data } = scaled(colour, toWidth, toHeight);
  const opacity = scaled(alpha, toWidth, toHeight).data;
  for (let k = 3; k < data.length; k += 4) {
    data[k] = opacity[k - 1];
  }
  return data;
}
