// Runs the shaders of full_size.js in Chromium for test_full_size_shaders.py: node full_size_page.mjs WEB CHROMIUM MODULE
// Reads cases as JSON from stdin, and prints what the shaders make of them as one line of JSON.

import { createRequire } from "node:module";
import { join } from "node:path";
import { json } from "node:stream/consumers";

import { printResult } from "./answered_page.mjs";

const [web, executablePath, module] = process.argv.slice(2);
const { chromium } = createRequire(join(web, "package.json"))("playwright-core");
const cases = await json(process.stdin);

const run = async (cases) => {
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
  let lost = 0;
  const [kept, freed] = [new FullSize(() => lost++), new FullSize(() => (lost += 10))];
  freed.dispose();
  await new Promise((resolve) => setTimeout(resolve, 200));
  kept.reduce(new ImageData(4, 4), 0.5);
  return { results, lost };
};
const answer = () => ({ path: module, contentType: "text/javascript" });
const software = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"];
await printResult(chromium, executablePath, "<!doctype html>", answer, (page) => page.evaluate(run, cases), software);
