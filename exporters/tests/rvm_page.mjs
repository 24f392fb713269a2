// Run rvm.js in Chromium for test_rvm.py: node rvm_page.mjs RVM.JS MODEL-FOLDER WEB-FOLDER CHROMIUM. Prints one line of
// JSON. The page has no server: this program answers its requests, and any other request fails.

import { createRequire } from "node:module";
import { dirname, join } from "node:path";

import { printResult } from "./answered_page.mjs";

const [module, folder, web, executablePath] = process.argv.slice(2);
const require = createRequire(join(web, "package.json"));
const { chromium } = require("playwright-core");
const tfjs = dirname(require.resolve("@tensorflow/tfjs"));
const wasm = dirname(require.resolve("@tensorflow/tfjs-backend-wasm"));
const PAGE = '<!doctype html><title>rvm.js</title><script src="/tf.min.js"></script><script src="/tf-backend-wasm.min.js"></script>';

const answer = (path) => {
  if (path === "/rvm.js") {
    return { path: module, contentType: "text/javascript" };
  }
  const root = path.startsWith("/model/") ? folder : path.startsWith("/tf.min") ? tfjs : wasm;
  return { path: join(root, path.replace("/model/", "/")) };
};

await printResult(chromium, executablePath, PAGE, answer, (page) =>
  page.evaluate(async () => {
    tf.wasm.setWasmPaths("/");
    await tf.setBackend("wasm");
    const { Matting } = await import("/rvm.js");
    const matting = await Matting.load(tf, "/model/model.json", { downsampleRatio: 0.5 });

    const source = new OffscreenCanvas(64, 48);
    const context = source.getContext("2d");
    const paint = (k) => {
      context.fillStyle = "rgb(30 90 150)";
      context.fillRect(0, 0, 64, 48);
      context.fillStyle = "rgb(220 180 40)";
      context.fillRect(k % 40, 10, 20, 20);
    };
    const first = async (frame) => {
      matting.reset();
      const { fgr, pha } = matting.matte(frame);
      const values = [...(await pha.data())];
      tf.dispose([fgr, pha]);
      return values;
    };
    paint(7);
    const pixels = context.getImageData(0, 0, 64, 48);
    const tensor = tf.tidy(() => tf.browser.fromPixels(pixels).toFloat().div(255));
    const videoFrame = new VideoFrame(source, { timestamp: 0 });
    const kinds = {
      tensor: await first(tensor),
      canvas: await first(source),
      imageData: await first(pixels),
      imageBitmap: await first(await createImageBitmap(source)),
      videoFrame: await first(videoFrame),
    };
    videoFrame.close();
    tensor.dispose();

    const canvas = new OffscreenCanvas(1, 1);
    const counts = [];
    matting.reset();
    for (let k = 0; k < 60; k++) {
      paint(k);
      await matting.draw(source, canvas);
      counts.push(tf.memory().numTensors);
    }
    matting.reset();
    const { fgr, pha } = matting.matte(source);
    const [rgb, opacity] = [await fgr.data(), await pha.data()];
    tf.dispose([fgr, pha]);
    matting.reset();
    await matting.draw(source, canvas);
    const drawn = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    // A canvas stores its colours multiplied by alpha, in bytes: it returns them unchanged only where it is opaque.

    let worst = 0;
    opacity.forEach((value, k) => {
      worst = Math.max(worst, Math.abs(drawn[4 * k + 3] - value * 255));
      if (drawn[4 * k + 3] === 255) {
        [0, 1, 2].forEach((c) => (worst = Math.max(worst, Math.abs(drawn[4 * k + c] - rgb[3 * k + c] * 255))));
      }
    });

    const video = document.createElement("video");
    let error = "";
    try {
      matting.matte(video);
    } catch (caught) {
      error = `${caught.name}: ${caught.message}`;
    }
    return { kinds, counts, size: [canvas.width, canvas.height], worst, error };
  }),
);
