// Mattes of a clip by an ONNX file for any size. `ort` is onnxruntime-node or onnxruntime-web.

const STATES = ["r1i", "r2i", "r3i", "r4i"];

/** Foreground and alpha of each frame, float32 tensors (1, C, H, W). Frames are ImageData, or alike. */
export async function* mattes(ort, session, frames, downsampleRatio = 0.25) {
  const zero = () => new ort.Tensor("float32", new Float32Array(1), [1, 1, 1, 1]);
  let states = Object.fromEntries(STATES.map((name) => [name, zero()]));
  const downsample_ratio = new ort.Tensor("float32", [downsampleRatio], [1]);
  for await (const frame of frames) {
    const src = new ort.Tensor("float32", toPlanes(frame), [1, 3, frame.height, frame.width]);
    const { fgr, pha, ...after } = await session.run({ src, ...states, downsample_ratio });
    states = Object.fromEntries(STATES.map((name) => [name, after[name.replace("i", "o")]]));
    yield { fgr, pha };
  }
}

/** RGBA bytes, pixel by pixel, as three planes in [0, 1]. */
export function toPlanes({ data, width, height }) {
  const size = width * height;
  const planes = new Float32Array(3 * size);
  for (let pixel = 0; pixel < size; pixel++) {
    for (let channel = 0; channel < 3; channel++) {
      planes[channel * size + pixel] = data[4 * pixel + channel] / 255;
    }
  }
  return planes;
}

/** The foreground with alpha as its transparency: RGBA bytes, for `new ImageData(bytes, width, height)`. */
export function toPixels({ fgr, pha }) {
  const size = pha.data.length;
  const bytes = new Uint8ClampedArray(4 * size);
  for (let pixel = 0; pixel < size; pixel++) {
    for (let channel = 0; channel < 3; channel++) {
      bytes[4 * pixel + channel] = 255 * fgr.data[channel * size + pixel];
    }
    bytes[4 * pixel + 3] = 255 * pha.data[pixel];
  }
  return bytes;
}
