// Draws the matte of a playing video with a file of coefficients, all of it on WebGPU. `ort` is onnxruntime-web/webgpu.

import { FullSizeWebGpu } from "./full_size_webgpu.js";

const STATES = ["r1", "r2", "r3", "r4"];

/** Start; the function that is returned stops. The canvas must not have a 2D context. */
export async function start(ort, video, canvas, model = "./rvm_mobilenetv3_coefficients_fp32.onnx") {
  const outputs = ["A", "b", ...STATES.map((name) => `${name}o`)];
  const session = await ort.InferenceSession.create(model, {
    executionProviders: ["webgpu"],
    logSeverityLevel: 3, // errors only: it warns that shapes are computed on the CPU
    preferredOutputLocation: Object.fromEntries(outputs.map((name) => [name, "gpu-buffer"])),
  });
  const stage = new FullSizeWebGpu(await ort.env.webgpu.device);
  const ratio = Math.min(512 / Math.max(video.videoWidth, video.videoHeight), 1);
  let states = STATES.map(() => new ort.Tensor("float32", new Float32Array(1), [1, 1, 1, 1]));
  let stopped = false;

  async function play() {
    while (!stopped) {
      await new Promise((resolve) => video.requestVideoFrameCallback(resolve));
      const { buffer, width, height } = stage.reduce(video, ratio);
      const src = ort.Tensor.fromGpuBuffer(buffer, { dataType: "float32", dims: [1, 3, height, width] });
      const before = Object.fromEntries(STATES.map((name, k) => [`${name}i`, states[k]]));
      const { A, b, ...after } = await session.run({ src, ...before });
      stage.draw(A.gpuBuffer, b.gpuBuffer, canvas);
      [A, b, ...states].forEach((each) => each.dispose());
      states = STATES.map((name) => after[`${name}o`]);
    }
    stage.dispose();
    await session.release();
  }

  play().catch(reportError);
  return () => {
    stopped = true;
  };
}
