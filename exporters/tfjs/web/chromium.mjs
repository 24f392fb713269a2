// Run one graph model in a page of headless Chromium, for exporters/support/tensor_pipe.py:
//   node chromium.mjs folder execute|executeAsync backend chromium scratch
// A server in this process serves the page, the library, the model and the frames. Chromium ends with this process,
// however that ends. Its files on disk are in the folder `scratch`.

import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { inPage, launch, troubleOf } from "../../support/web/browser.mjs";
import { encode, failure } from "../../support/web/messages.mjs";
import { answer, requests } from "../../support/web/pipe.mjs";

const [folder, method, backend, executablePath, scratch] = process.argv.slice(2);
process.env.TMPDIR = scratch;

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };

// Playwright's exit handler ends Chromium with this process.
process.on("SIGTERM", () => process.exit(1));

try {
  const { chromium } = await import("playwright-core");
  const exchange = { request: null, answer: null };
  const server = await serve(routes(), exchange);
  const browser = await launch(chromium, executablePath, backend);
  const page = await browser.newPage();
  const trouble = troubleOf(page);
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await inPage(page, trouble, ([backend, method]) => window.start(backend, method), [backend, method]);
  await answer(encode([]));
  for await (const { header, body } of requests()) {
    exchange.request = [`${JSON.stringify(header)}\n`, body];
    await inPage(page, trouble, () => window.frame());
    await answer([exchange.answer]);
  }
} catch (error) {
  await answer(failure(error));
}
process.exit(); // the server would keep the process alive

/** Map the URLs that a page may request to files. Of the model, these are model.json and the shards that it names. */
function routes() {
  const { resolve } = createRequire(import.meta.url);
  const here = dirname(fileURLToPath(import.meta.url));
  const tf = dirname(resolve("@tensorflow/tfjs"));
  const wasm = dirname(resolve("@tensorflow/tfjs-backend-wasm"));
  const webgpu = dirname(resolve("@tensorflow/tfjs-backend-webgpu"));
  const libraries = {
    wasm: join(wasm, "tf-backend-wasm.min.js"),
    webgl: null, // the library includes it
    webgpu: join(webgpu, "tf-backend-webgpu.min.js"),
  };
  const model = JSON.parse(readFileSync(join(folder, "model.json"), "utf8"));
  const shards = model.weightsManifest.flatMap((group) => group.paths);
  const builds = ["", "-simd", "-threaded-simd"].map((build) => `tfjs-backend-wasm${build}.wasm`);
  return {
    "/": join(here, "page.html"),
    "/page.mjs": join(here, "page.mjs"),
    "/player.mjs": join(here, "player.mjs"),
    "/web/messages.mjs": join(here, "../../support/web/messages.mjs"),
    "/tf.js": join(tf, "tf.min.js"),
    "/backend.js": libraries[backend],
    "/favicon.ico": null,
    ...Object.fromEntries(builds.map((name) => [`/wasm/${name}`, join(wasm, name)])),
    ...Object.fromEntries(["model.json", ...shards].map((name) => [`/model/${encodeURI(name)}`, join(folder, name)])),
  };
}

/** Start a server for this machine only. Its page is cross-origin isolated, which wasm requires for threads. */
async function serve(files, exchange) {
  const server = createServer(async (request, response) => {
    response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
    response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
    if (request.url === "/request") {
      exchange.request.forEach((part) => response.write(part));
    } else if (request.url === "/answer") {
      const parts = [];
      for await (const part of request) {
        parts.push(part);
      }
      exchange.answer = Buffer.concat(parts);
    } else if (files[request.url] === null) {
      response.setHeader("Content-Type", TYPES[".js"]);
    } else if (existsSync(files[request.url])) {
      response.setHeader("Content-Type", TYPES[extname(files[request.url])] ?? "application/octet-stream");
      response.write(readFileSync(files[request.url]));
    } else {
      response.statusCode = 404; // the page's console reports it
    }
    response.end();
  });
  await new Promise((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  return server;
}
