// Draws the matte of a playing video onto a canvas. `ort` is onnxruntime-web; onnx.mjs is the module above.

import { mattes, toPixels } from "./onnx.mjs";

/** Start; the function that is returned stops. */
export async function start(ort, video, canvas, model = "./rvm_mobilenetv3_fp32.onnx") {
  const session = await ort.InferenceSession.create(model);
  const { videoWidth: width, videoHeight: height } = video;
  const ratio = Math.min(512 / Math.max(width, height), 1);
  const reader = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  let stopped = false;

  async function* frames() {
    while (!stopped) {
      await new Promise((resolve) => video.requestVideoFrameCallback(resolve));
      reader.drawImage(video, 0, 0, width, height);
      yield reader.getImageData(0, 0, width, height);
    }
  }

  async function play() {
    [canvas.width, canvas.height] = [width, height];
    for await (const matte of mattes(ort, session, frames(), ratio)) {
      canvas.getContext("2d").putImageData(new ImageData(toPixels(matte), width, height), 0, 0);
    }
    await session.release();
  }

  play().catch(reportError);
  return () => {
    stopped = true;
  };
}
