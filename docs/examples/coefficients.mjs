// Draws the matte of a playing video onto a canvas with a file of coefficients for any size. `ort` is onnxruntime-web.

import { FullSize } from "./full_size.js";

const STATES = ["r1i", "r2i", "r3i", "r4i"];

/** Start; the function that is returned stops. */
export async function start(ort, video, canvas, model = "./rvm_mobilenetv3_coefficients_fp32.onnx") {
  const session = await ort.InferenceSession.create(model);
  const stage = new FullSize();
  const { videoWidth: width, videoHeight: height } = video;
  const ratio = Math.min(512 / Math.max(width, height), 1);
  [canvas.width, canvas.height] = [width, height];
  let states = STATES.map(() => new ort.Tensor("float32", new Float32Array(1), [1, 1, 1, 1]));
  let stopped = false;

  async function play() {
    while (!stopped) {
      await new Promise((resolve) => video.requestVideoFrameCallback(resolve));
      const small = stage.reduce(video, ratio);
      const src = new ort.Tensor("float32", small.data, [1, 3, small.height, small.width]);
      const before = Object.fromEntries(STATES.map((name, k) => [name, states[k]]));
      const { A, b, ...after } = await session.run({ src, ...before });
      states = STATES.map((name) => after[name.replace("i", "o")]);
      const pixels = stage.finish(A.data, b.data);
      canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
    }
    stage.dispose();
    await session.release();
  }

  play().catch(reportError);
  return () => {
    stopped = true;
  };
}
