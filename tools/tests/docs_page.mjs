// Runs an example that mattes a video in Chromium, for test_docs_examples.py:
//   node docs_page.mjs tfjs|onnx|coefficients|coefficients_webgpu EXAMPLES MODEL-FOLDER ONNX-WEB TFJS-WEB CHROMIUM
// Prints one line of JSON. The page has no server: what it asks for is answered from here, and anything else fails.

import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { printResult } from "../../exporters/tests/answered_page.mjs";

const [kind, examples, folder, onnxWeb, tfjsWeb, executablePath] = process.argv.slice(2);
const require = createRequire(join(tfjsWeb, "package.json"));
const { chromium } = require("playwright-core");
const ROOTS = {
  model: folder,
  examples,
  ort: join(onnxWeb, "node_modules", "onnxruntime-web", "dist"),
  tf: dirname(require.resolve("@tensorflow/tfjs")),
  wasm: dirname(require.resolve("@tensorflow/tfjs-backend-wasm")),
};
const SHADERS = fileURLToPath(new URL("../../exporters/support/web", import.meta.url));
const EXAMPLES = {
  tfjs: ["tfjs.mjs", "/model/model.json"],
  onnx: ["onnx_page.mjs", "/model/model.onnx"],
  coefficients: ["coefficients.mjs", "/model/model.onnx"],
  coefficients_webgpu: ["coefficients_webgpu.mjs", "/model/model.onnx"],
};
const WEBGL = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"];
const WEBGPU = [...WEBGL, "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"];
WEBGPU.push("--use-vulkan=swiftshader", "--ignore-gpu-blocklist", "--disable-gpu-watchdog");
const PAGE =
  '<!doctype html><title>docs</title><script src="/tf/tf.min.js"></script>' +
  '<script src="/wasm/tf-backend-wasm.min.js"></script><video muted autoplay></video><canvas id="matte"></canvas>';

const answer = (path) => {
  const [, root, name] = path.split("/");
  const contentType = /\.m?js$/.test(name) ? "text/javascript" : name.endsWith(".wasm") ? "application/wasm" : undefined;
  const own = { "rvm.js": folder, "full_size.js": SHADERS, "full_size_webgpu.js": SHADERS };
  return { path: join(own[name] ?? ROOTS[root], name), contentType };
};

await printResult(chromium, executablePath, PAGE, answer, (page) =>
  page.evaluate(async ([kind, example, model]) => {
    const source = document.createElement("canvas");
    [source.width, source.height] = [64, 48];
    const context = source.getContext("2d");
    let painted = 0;
    const paint = setInterval(() => {
      context.fillStyle = `rgb(${(painted * 20) % 256} 90 150)`;
      context.fillRect(painted++ % 40, 10, 20, 20);
    }, 40);
    const video = document.querySelector("video");
    video.srcObject = source.captureStream(25);
    await video.play();

    let library;
    if (kind !== "tfjs") {
      library = await import(kind === "coefficients_webgpu" ? "/ort/ort.webgpu.min.mjs" : "/ort/ort.wasm.min.mjs");
      library.env.wasm.wasmPaths = "/ort/";
      library.env.wasm.numThreads = 1;
    } else {
      library = tf;
      tf.wasm.setWasmPaths("/wasm/");
      await tf.setBackend("wasm");
    }
    const canvas = document.querySelector("#matte");
    let drawn = 0;
    const original = CanvasRenderingContext2D.prototype.putImageData;
    CanvasRenderingContext2D.prototype.putImageData = function (...given) {
      drawn += this.canvas === canvas;
      return original.apply(this, given);
    };
    const shown = new OffscreenCanvas(64, 48).getContext("2d", { willReadFrequently: true });
    if (kind === "coefficients_webgpu") {
      const { submit } = GPUQueue.prototype;
      const { getCurrentTexture } = GPUCanvasContext.prototype;
      let begun = false;
      GPUCanvasContext.prototype.getCurrentTexture = function () {
        begun = true;
        return getCurrentTexture.call(this);
      };
      GPUQueue.prototype.submit = function (...given) {
        submit.apply(this, given);
        if (begun) {
          shown.drawImage(canvas, 0, 0); // later it is empty
          drawn++;
          begun = false;
        }
      };
    }
    const before = tf.memory().numTensors;
    const { start } = await import(`/examples/${example}`);
    const stop = await start(library, video, canvas, model);
    const wait = async (done) => {
      const began = performance.now();
      while (!done() && performance.now() - began < 120000) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    };
    await wait(() => drawn >= 5);
    stop();
    await wait(() => tf.memory().numTensors === before);
    clearInterval(paint);
    const { data } = (kind === "coefficients_webgpu" ? shown : canvas.getContext("2d")).getImageData(0, 0, 64, 48);
    return { drawn, values: new Set(data).size, size: [canvas.width, canvas.height], left: tf.memory().numTensors - before };
  }, [kind, ...EXAMPLES[kind]]),
  kind === "coefficients_webgpu" ? WEBGPU : WEBGL,
);
