// Plays the frames of golden.npz, and compares with PyTorch's outputs. `ort` is onnxruntime-node or onnxruntime-web.

import { mattes } from "./onnx.mjs";

/** Largest error of `fgr` and `pha` over all frames of a size, such as "96x64". `arrays` come from `readNpz`. */
export async function largestErrors(ort, session, arrays, variant, size) {
  const errors = { fgr: 0, pha: 0 };
  const [downsampleRatio] = arrays[`${size}/downsample_ratio`].data;
  let t = 0;
  for await (const matte of mattes(ort, session, frames(arrays[`${size}/src`]), downsampleRatio)) {
    for (const name of Object.keys(errors)) {
      const { shape, data } = arrays[`${variant}/${size}/${name}`];
      const expected = data.subarray((data.length / shape[0]) * t, (data.length / shape[0]) * (t + 1));
      const differences = matte[name].data.map((value, k) => Math.abs(value - expected[k]));
      errors[name] = differences.reduce((most, each) => Math.max(most, each), errors[name]); // NaN stays
    }
    t++;
  }
  return errors;
}

/** RGB frames (T, H, W, 3) as ImageData has them. */
function* frames({ shape: [count, height, width], data }) {
  const size = height * width;
  for (let t = 0; t < count; t++) {
    const rgba = new Uint8ClampedArray(4 * size).fill(255);
    for (let pixel = 0; pixel < size; pixel++) {
      rgba.set(data.subarray(3 * (t * size + pixel), 3 * (t * size + pixel + 1)), 4 * pixel);
    }
    yield { data: rgba, width, height };
  }
}

/** The arrays of a .npz file by name, `{ shape, data }`. They must be stored, not packed, as those of golden.npz are. */
export function readNpz(buffer) {
  const view = new DataView(buffer);
  const text = (start, length) => new TextDecoder("latin1").decode(new Uint8Array(buffer, start, length));
  const end = buffer.byteLength - 22; // the record at the end of a zip file that has no comment
  const arrays = {};
  let entry = view.getUint32(end + 16, true);
  for (let left = view.getUint16(end + 10, true); left > 0; left--) {
    const [name, extra, comment] = [28, 30, 32].map((at) => view.getUint16(entry + at, true));
    const local = view.getUint32(entry + 42, true);
    const npy = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    const header = text(npy + 10, view.getUint16(npy + 8, true));
    const [, dtype] = header.match(/'descr': '(.*?)'/);
    const [, axes] = header.match(/'shape': \((.*?)\)/);
    const shape = axes.split(",").filter((axis) => axis.trim()).map(Number);
    const start = npy + 10 + header.length;
    const length = shape.reduce((product, axis) => product * axis, 1);
    const data = { "|u1": Uint8Array, "<f4": Float32Array }[dtype];
    arrays[text(entry + 46, name).replace(/\.npy$/, "")] = {
      shape,
      data: new data(buffer.slice(start, start + length * data.BYTES_PER_ELEMENT)),
    };
    entry += 46 + name + extra + comment;
  }
  return arrays;
}
