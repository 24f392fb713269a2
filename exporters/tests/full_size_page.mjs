// Runs the shaders of full_size.js and full_size_webgpu.js in Chromium for test_full_size_shaders.py:
//   node full_size_page.mjs WEB CHROMIUM MODULES webgl|webgpu
// Reads cases as JSON from stdin, and prints what the shaders make of them as one line of JSON.

import { createRequire } from "node:module";
import { join } from "node:path";
import { json } from "node:stream/consumers";

import { printResult } from "./answered_page.mjs";

const [web, executablePath, modules, kind] = process.argv.slice(2);
const { chromium } = createRequire(join(web, "package.json"))("playwright-core");
const cases = await json(process.stdin);

const onWebgl = async (cases) => {
  const { FullSize } = await import("/full_size.js");
  const stage = new FullSize();
  const results = cases.map(({ pixels, width, height, ratio, A, b }) => {
    try {
      const small = stage.reduce(new ImageData(new Uint8ClampedArray(pixels), width, height), ratio);
      return { ...small, data: [...small.data], pixels: [...stage.finish(Float32Array.from(A), Float32Array.from(b))] };
    } catch (error) {
      return { error: `${error.name}: ${error.message}` };
    }
  });
  const lost = [];
  const [kept, freed] = [new FullSize(() => lost.push("kept")), new FullSize(() => lost.push("freed"))];
  freed.dispose();
  await new Promise((resolve) => setTimeout(resolve, 200));
  kept.reduce(new ImageData(4, 4), 0.5);
  return { results, lost };
};

const onWebgpu = async (cases) => {
  const { FullSizeWebGpu } = await import("/full_size_webgpu.js");
  const device = await (await navigator.gpu.requestAdapter()).requestDevice();
  const wrong = [];
  device.onuncapturederror = ({ error }) => wrong.push(error.message);
  const buffer = (values) => {
    const made = device.createBuffer({ size: values.byteLength, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST });
    device.queue.writeBuffer(made, 0, values);
    return made;
  };
  const floats = async (source, length) => {
    const read = device.createBuffer({ size: 4 * length, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(source, 0, read, 0, 4 * length);
    device.queue.submit([encoder.finish()]);
    await read.mapAsync(GPUMapMode.READ);
    return [...new Float32Array(read.getMappedRange())];
  };
  const last = (planes, channels) => {
    const area = planes.length / channels;
    return Float32Array.from(planes, (_, k) => planes[(k % channels) * area + Math.floor(k / channels)]);
  };
  const first = (pixels) => pixels.map((_, k) => pixels[3 * (k % (pixels.length / 3)) + Math.floor((3 * k) / pixels.length)]);
  const read = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

  /** Run a case, with images of either layout. `drawn` are the bytes of the canvas, as a 2D canvas gets them. */
  const run = async (stage, { pixels, width, height, ratio, A, b }, channelsLast) => {
    const small = stage.reduce(new ImageData(new Uint8ClampedArray(pixels), width, height), ratio);
    const data = await floats(small.buffer, 3 * small.width * small.height);
    const line = [A, b].map((planes) => buffer(channelsLast ? last(planes, 4) : Float32Array.from(planes)));
    const canvas = new OffscreenCanvas(1, 1);
    stage.draw(...line, canvas);
    Object.assign(read.canvas, { width, height });
    read.drawImage(canvas.transferToImageBitmap(), 0, 0);
    return {
      width: small.width,
      height: small.height,
      data: channelsLast ? first(data) : data,
      pixels: [...(await stage.pixels(...line))],
      drawn: [...read.getImageData(0, 0, width, height).data],
    };
  };
  const results = [];
  const stages = [false, true].map((channelsLast) => new FullSizeWebGpu(device, { channelsLast }));
  for (const [k, each] of cases.entries()) {
    try {
      results.push(await run(stages[k % 2], each, k % 2 === 1));
    } catch (error) {
      results.push({ error: `${error.name}: ${error.message}` });
    }
  }
  stages.forEach((stage) => stage.dispose());
  return { results, lost: wrong };
};

// A WebGPU canvas in software needs Vulkan and ANGLE in software too: else Chromium's GPU process ends with the first draw.
const SOFTWARE = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"];
const WEBGPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan", "--use-vulkan=swiftshader"];
const [run, flags] = { webgl: [onWebgl, SOFTWARE], webgpu: [onWebgpu, [...SOFTWARE, ...WEBGPU, "--ignore-gpu-blocklist"]] }[kind];
const answer = (path) => ({ path: join(modules, path), contentType: "text/javascript" });
await printResult(chromium, executablePath, "<!doctype html>", answer, (page) => page.evaluate(run, cases), flags);
