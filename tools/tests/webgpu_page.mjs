// Run the models of a page of rvm-export demo on WebAssembly and on WebGPU, for test_webgpu.py:
//   node webgpu_page.mjs WEB CHROMIUM ADDRESS
// Prints one line of JSON.

import { createRequire } from "node:module";
import { join } from "node:path";

const [web, executablePath, address] = process.argv.slice(2);
const { chromium } = createRequire(join(web, "package.json"))("playwright-core");
// A WebGPU canvas in software needs Vulkan and ANGLE in software too.
const FLAGS = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-gpu-watchdog", "--ignore-gpu-blocklist"];
FLAGS.push("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan", "--use-vulkan=swiftshader");
FLAGS.push("--disable-background-networking", "--disable-component-update", "--disable-sync");

const browser = await chromium.launch({ executablePath, args: FLAGS, chromiumSandbox: process.getuid() !== 0 });
try {
  const page = await browser.newPage();
  const trouble = [];
  page.on("pageerror", (error) => trouble.push(error.message));
  page.on("console", (message) => message.type() === "error" && trouble.push(message.text()));
  await page.route("**/favicon.ico", (route) => route.fulfill({ status: 204 }));
  const models = await (await page.goto(`${address}models.json`)).json();
  const results = {};
  for (const model of models) {
    results[model.name] = { wasm: await onWasm(page, model), ...(await onWebGpu(page, model)) };
  }
  process.stdout.write(`${JSON.stringify({ results, trouble })}\n`);
} finally {
  await browser.close();
}

/** Start an engine as `window.engine`, and return its worker. `window.frame(k)` is then the clip's frame. */
async function started(page, model, backend) {
  const worker = page.waitForEvent("worker");
  await page.evaluate(
    async ([model, backend]) => {
      const { Engine } = await import("/engine.js");
      window.engine = await Engine.start(model, backend, 1);
      window.frame = (k) => {
        const data = Uint8ClampedArray.from({ length: 4 * 96 * 64 }, (_, at) => {
          const [x, y] = [(at >> 2) % 96, Math.floor(at / 384)];
          return at % 4 === 3 ? 255 : Math.hypot(x - 30 - 8 * k, y - 40) < 22 ? 60 * (at % 4) + 90 : 2 * x + y;
        });
        return new ImageData(data, 96, 64);
      };
    },
    [model, backend],
  );
  return worker;
}

async function onWasm(page, model) {
  await started(page, model, "wasm");
  return bytes(page);
}

/** Return the bytes of the clip's second frame, and end the engine. */
function bytes(page) {
  return page.evaluate(async () => {
    await engine.matte(frame(0), 0.5);
    const { pixels } = await engine.matte(frame(1), 0.5);
    engine.close();
    return [...pixels];
  });
}

/** Draw the same frames, then return their bytes. `reads` counts how often the worker maps a GPU buffer to read it. */
async function onWebGpu(page, model) {
  const worker = await started(page, model, "webgpu");
  const about = await page.evaluate(() => engine.about);
  await draw(page, 0);
  await worker.evaluate(() => {
    self.reads = 0;
    const { mapAsync } = GPUBuffer.prototype;
    GPUBuffer.prototype.mapAsync = function (...given) {
      self.reads += given[0] === GPUMapMode.READ;
      return mapAsync.apply(this, given);
    };
  });
  const drawn = await draw(page, 1);
  const reads = { drawing: await worker.evaluate(() => self.reads) };
  await page.evaluate(() => engine.matte(frame(2), 0.5));
  reads.bytes = await worker.evaluate(() => self.reads);
  await page.evaluate(() => engine.reset());
  return { about, drawn, reads, webgpu: await bytes(page) };
}

/** Return what a 2D canvas shows of a frame that stays on the GPU. */
function draw(page, k) {
  return page.evaluate(async (k) => {
    const { picture } = await engine.matte(await createImageBitmap(frame(k)), 0.5, { asPicture: true });
    const context = document.createElement("canvas").getContext("2d");
    [context.canvas.width, context.canvas.height] = [96, 64];
    context.drawImage(picture, 0, 0);
    return [...context.getImageData(0, 0, 96, 64).data];
  }, k);
}
