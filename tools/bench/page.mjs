// Time one model in the page of rvm-export demo, for exporters/support/tensor_pipe.py:
//   node page.mjs ADDRESS BACKEND THREADS RATIO CHROMIUM SCRATCH
// A request has the size of the frame, whose bytes the page fetches, and whether the canvas is wanted. The time is that from
// the frame's bytes to the page's canvas, the model's worker in between.

import { createRequire } from "node:module";

import { inPage, launch, troubleOf } from "../../exporters/support/web/browser.mjs";
import { decode, encode, failure } from "../../exporters/support/web/messages.mjs";
import { answer, requests } from "../../exporters/support/web/pipe.mjs";

const [address, backend, threads, ratio, executablePath, scratch] = process.argv.slice(2);
const { chromium } = createRequire(new URL("../../exporters/tfjs/web/package.json", import.meta.url))("playwright-core");
process.env.TMPDIR = scratch;
process.on("SIGTERM", () => process.exit(1));

try {
  const browser = await launch(chromium, executablePath, "webgl"); // shaders draw on every backend
  const page = await browser.newPage();
  await page.route("**/favicon.ico", (route) => route.fulfill({ status: 204 }));
  const trouble = troubleOf(page);
  await page.goto(`${address}models.json`); // a page without scripts of its own
  await inPage(page, trouble, start, [backend, Number(threads)]);
  await answer(encode([]));
  for await (const { header, body } of requests()) {
    const [size] = decode(header, body);
    const [width, height, wanted] = size.data;
    const { milliseconds, pixels } = await inPage(page, trouble, frame, [width, height, Number(ratio), Boolean(wanted)]);
    const tensors = [{ name: "milliseconds", dtype: "float32", shape: [1], data: Float32Array.of(milliseconds) }];
    if (pixels) {
      tensors.push({ name: "pixels", dtype: "uint8", shape: [height, width, 4], data: Buffer.from(pixels, "base64") });
    }
    await answer(encode(tensors));
  }
} catch (error) {
  await answer(failure(error));
}
process.exit();

async function start([backend, threads]) {
  const [{ Engine }, { Matte }] = await Promise.all([import("/engine.js"), import("/draw.js")]);
  const [model] = await (await fetch("/models.json")).json();
  window.engine = await Engine.start(model, backend, threads);
  window.matte = new Matte();
}

async function frame([width, height, ratio, wanted]) {
  const bytes = await (await fetch("/frame")).arrayBuffer();
  const image = new ImageData(new Uint8ClampedArray(bytes), width, height);
  const began = performance.now();
  window.matte.set(image, await window.engine.matte(image, ratio, { asPicture: window.engine.about.draws }));
  const milliseconds = performance.now() - began;
  if (!wanted) {
    return { milliseconds };
  }
  const { data } = window.matte.cutout.getContext("2d").getImageData(0, 0, width, height);
  const url = await new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.readAsDataURL(new Blob([data]));
  });
  return { milliseconds, pixels: url.slice(url.indexOf(",") + 1) };
}
