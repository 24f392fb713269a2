// Opens the page of `rvm-export for browser` in Chromium, with a camera of Chromium's own, for test_targets.py:
//   node target_page.mjs FOLDER TFJS-WEB CHROMIUM
// Prints one line of JSON.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

import { printResult } from "../../exporters/tests/answered_page.mjs";

const [folder, tfjsWeb, executablePath] = process.argv.slice(2);
const { chromium } = createRequire(join(tfjsWeb, "package.json"))("playwright-core");

const answer = (path) => {
  const contentType = /\.m?js$/.test(path) ? "text/javascript" : path.endsWith(".wasm") ? "application/wasm" : undefined;
  return path === "/favicon.ico" ? { body: "" } : { path: join(folder, path), contentType };
};

await printResult(
  chromium,
  executablePath,
  readFileSync(join(folder, "index.html"), "utf-8"),
  answer,
  (page) =>
    page.evaluate(async () => {
      const canvas = document.querySelector("canvas");
      let drawn = 0;
      const original = CanvasRenderingContext2D.prototype.putImageData;
      CanvasRenderingContext2D.prototype.putImageData = function (...given) {
        drawn += this.canvas === canvas;
        return original.apply(this, given);
      };
      const began = performance.now();
      while (drawn < 3 && performance.now() - began < 120000) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const alphas = new Set(data.filter((_, k) => k % 4 === 3));
      return { drawn, size: [canvas.width, canvas.height], alphas: alphas.size };
    }),
  ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"],
);
