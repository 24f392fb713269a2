// Run a TensorFlow.js model in the worker with rvm.js, the file that comes with every exported model.

import { Matting } from "./rvm.js";

const LIB = new URL("./lib/", import.meta.url).href;
const SCRIPTS = { wasm: "tf-backend-wasm.es2017.min.js", webgl: null, webgpu: "tf-backend-webgpu.es2017.min.js" };

/** Load the model and return its player. `onLost` is called when the graphics driver frees its memory. */
export async function open(model, backend, onLost, threads) {
  await import(`${LIB}tf.es2017.min.js`);
  if (SCRIPTS[backend]) {
    await import(`${LIB}${SCRIPTS[backend]}`);
  }
  const tf = self.tf;
  tf.wasm?.setWasmPaths(LIB);
  if (threads) {
    tf.wasm?.setThreadsCount(threads);
  }
  if (!(await tf.setBackend(backend)) || tf.getBackend() !== backend) {
    throw new Error(`the backend ${backend} does not start in this browser; choose another`);
  }
  if (backend === "webgl") {
    tf.backend().gpgpu.gl.canvas.addEventListener("webglcontextlost", onLost);
  }
  const matting = await Matting.load(tf, new URL(model.address, import.meta.url).href, { onLost });
  const onGpu = backend === "webgpu" && model.outputs.includes("A");
  const canvas = new OffscreenCanvas(1, 1);

  async function drawn(frame, ratio) {
    matting.downsampleRatio = ratio;
    await matting.draw(frame, canvas);
    await tf.backend().device.queue.onSubmittedWorkDone(); // else only the submission would be timed
    return canvas.transferToImageBitmap();
  }

  return {
    about: { threads: backend === "wasm" && crossOriginIsolated ? tf.wasm.getThreadsCount() : 1 },

    /** Return a frame's foreground and alpha as RGBA bytes. */
    async matte(frame, ratio) {
      matting.downsampleRatio = ratio;
      return (await matting.pixels(frame)).data;
    },

    /** Return a frame's cut-out as an ImageBitmap, without reading anything back; null if this is not possible. */
    draw: onGpu ? drawn : null,

    states() {
      return Promise.all(
        matting.states.map(async (state) => {
          const [, height, width, channels] = state.shape;
          return { data: await state.data(), channels, height, width, strides: [1, width * channels, channels] };
        }),
      );
    },

    memory() {
      const { numTensors, numBytes } = tf.memory();
      return { tensors: numTensors, bytes: numBytes };
    },

    reset() {
      matting.reset();
    },
  };
}
