// What test_demo.py asks of the page in Chromium: node demo_page.mjs SETTINGS.json. Prints one line of JSON; pixels and
// downloads go as files into the folder that the settings name.

import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const { web, executablePath, camera, address, plain, folder, video, picture, background } = JSON.parse(
  readFileSync(process.argv[2], "utf8"),
);
const require = createRequire(join(web, "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const PATIENCE = 90_000; // WebGL in software takes its time

const browser = await chromium.launch({
  executablePath,
  args: [
    ...["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"],
    ...["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-gpu-watchdog", "--ignore-gpu-blocklist"],
    ...["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"],
    ...[`--use-file-for-fake-video-capture=${camera}`, "--enable-precise-memory-info", "--js-flags=--expose-gc"],
  ],
  chromiumSandbox: process.getuid() !== 0,
});
setTimeout(() => process.exit(1), 4 * PATIENCE).unref();
const answers = { trouble: [], requests: [], axe: {} };
try {
  const context = await browser.newContext({ acceptDownloads: true, colorScheme: "light", reducedMotion: "reduce" });
  context.setDefaultTimeout(PATIENCE);
  await context.addInitScript(spy);
  const page = await opened(context, address);
  await step("empty", () => beAccessible(page, "empty"));
  for (const part of [byKeyboard, inNumbers, inPixels, inFiles, besideAnother, byShaders, onAnotherBackend, overManyFrames]) {
    await step(part.name, () => part(page));
  }
  await page.close();
  for (const part of [withoutCamera, lostForGood, onPlainServer]) {
    await step(part.name, () => part(context));
  }
} finally {
  await browser.close();
}
process.stdout.write(`${JSON.stringify(answers)}\n`);

/** For whoever looks for what takes long, or does not end. */
async function step(name, part) {
  const began = performance.now();
  console.error(`${name} ...`);
  await part().catch(async (error) => {
    const [page] = browser.contexts()[0].pages();
    const { said, results, pending, video, painted } = await page.evaluate(async () => {
      const painted = new Promise((resolve) => requestAnimationFrame(() => resolve(true)));
      const late = new Promise((resolve) => setTimeout(resolve, 3000, false));
      const { currentTime, paused, readyState } = spied.video ?? {};
      const pending = [...spied.pending.values()];
      return { ...spied, pending, video: { currentTime, paused, readyState }, painted: await Promise.race([painted, late]) };
    });
    const message = await page.innerText("#message");
    console.error(JSON.stringify({ said: said.slice(-5), message, results, pending, video, painted, trouble: answers.trouble }));
    throw error;
  });
  console.error(`${name}: ${((performance.now() - began) / 1000).toFixed(1)} s`);
}

/** In the page, before its own scripts: what goes to its workers and comes from them, and what it says. */
function spy() {
  const spied = { frames: [], results: 0, latest: null, said: [], pending: new Map(), video: null };
  window.spied = spied;
  spied.text = (bytes) => new TextDecoder("x-user-defined").decode(bytes); // one character for each byte
  document.addEventListener("DOMContentLoaded", () => {
    const state = document.getElementById("state");
    new MutationObserver(() => spied.said.push(state.textContent)).observe(state, { childList: true });
  });
  const { createElement } = document;
  document.createElement = function (name, ...more) {
    const element = createElement.call(this, name, ...more);
    spied.video = name === "video" ? element : spied.video;
    return element;
  };
  const { postMessage, terminate } = Worker.prototype;
  Worker.prototype.terminate = function () {
    spied.pending.delete(this);
    terminate.call(this);
  };
  Worker.prototype.postMessage = function (message, ...more) {
    const { pending } = spied;
    if (message?.call === "start") {
      this.addEventListener("message", ({ data }) => {
        if (data.result?.pixels) {
          pending.set(this, pending.get(this) - 1);
          spied.results += 1;
          spied.latest = data.result;
        }
      });
      pending.set(this, 0);
    }
    if (message?.call === "reset" || message?.call === "start") {
      spied.frames = [];
    }
    if (message?.call === "matte") {
      pending.set(this, pending.get(this) + 1);
      const [{ width, height, data }] = message.given;
      spied.frames.push({ width, height, data: data.slice() });
      spied.frames.length > 60 && spied.frames.shift();
    }
    return postMessage.call(this, message, ...more);
  };
}

async function opened(context, url) {
  const page = await context.newPage();
  page.on("pageerror", (error) => answers.trouble.push(error.message));
  page.on("console", (message) => message.type() === "error" && answers.trouble.push(message.text()));
  page.on("request", (request) => answers.requests.push(request.url()));
  await page.goto(url);
  await page.waitForFunction(() => document.getElementById("state").textContent === "Ready");
  return page;
}

async function beAccessible(page, name) {
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const told = ({ id, impact, nodes }) => `${id} (${impact}): ${nodes.map(({ html }) => html.slice(0, 100)).join(", ")}`;
  answers.axe[name] = { passes: passes.length, violations: violations.map(told) };
}

/** From the top through all controls, then the camera is begun with a key. */
async function byKeyboard(page) {
  const seen = [];
  for (let k = 0; k < 30; k++) {
    await page.keyboard.press("Tab");
    const here = await page.evaluate(() => {
      const element = document.activeElement;
      const shown = [element, ...(element.parentElement?.querySelectorAll("span, i") ?? [])];
      const ring = shown.some((each) => getComputedStyle(each).outlineStyle !== "none");
      return { name: element.id || element.name || element.dataset.do || element.tagName, ring };
    });
    if (here.name === "BODY" || seen.some(({ name }) => name === here.name)) {
      continue;
    }
    seen.push(here);
  }
  await page.focus("[name=view]:checked");
  await page.keyboard.press("ArrowRight");
  const view = await page.evaluate(() => document.querySelector("[name=view]:checked").value);
  await page.keyboard.press("ArrowLeft");
  await page.selectOption("#resolution", "160");
  await page.selectOption("#ratio", "0.5");
  await page.focus("#camera");
  await page.keyboard.press("Enter");
  await frames(page, 8);
  answers.keyboard = { seen, view };
}

/** Wait for so many more frames. */
async function frames(page, count) {
  const before = await page.evaluate(() => spied.results);
  await page.waitForFunction((goal) => spied.results >= goal, before + count);
}

async function inNumbers(page) {
  await page.waitForFunction(() => document.getElementById("fps").textContent !== "–");
  answers.figures = await page.evaluate(() =>
    Object.fromEntries(
      ["time", "fps", "memory", "tensors", "runs", "state", "facts"].map((id) => [id, document.getElementById(id).textContent]),
    ),
  );
  answers.isolated = await page.evaluate(() => crossOriginIsolated);
}

/** The clip so far, and what the page shows of its last frame in each of its views. */
async function inPixels(page) {
  await page.click("#pause");
  await settled(page);
  await keepClip(page, "clip");
  for (const view of ["alpha", "foreground"]) {
    await choose(page, "view", view);
    await keep(page, "view-a", view);
  }
  await choose(page, "view", "composite");
  await choose(page, "background", "blur");
  await keep(page, "view-a", "blur");
  const chooser = page.waitForEvent("filechooser");
  await choose(page, "background", "picture");
  await (await chooser).setFiles(background);
  await page.waitForTimeout(300);
  await keep(page, "view-a", "picture");
  await choose(page, "background", "colour");
  await keep(page, "view-a", "colour");
  await beAccessible(page, "at work");
  await page.emulateMedia({ colorScheme: "dark" });
  await beAccessible(page, "dark");
  await page.setViewportSize({ width: 375, height: 720 });
  await beAccessible(page, "phone");
  answers.phone = await page.evaluate(() => document.documentElement.scrollWidth);
  await page.setViewportSize({ width: 400, height: 300 }); // there is less to draw, in software
  await page.emulateMedia({ colorScheme: "light" });

  await page.click("#compare-before");
  answers.before = await page.evaluate(() => {
    const clip = () => getComputedStyle(document.getElementById("before")).clipPath;
    const split = document.getElementById("split");
    const shown = clip();
    split.value = 80;
    split.dispatchEvent(new InputEvent("input", { bubbles: true }));
    return { shown: split.checkVisibility(), moved: clip() !== shown };
  });
  await keep(page, "before", "before");
  await page.click("#compare-before");
  await page.click("#pause");
  await choose(page, "view", "states");
  await page.waitForSelector("#states:not([hidden]) figcaption");
  answers.states = await page.evaluate(() =>
    [...document.querySelectorAll("#states figure")].map((figure) => {
      const canvas = figure.querySelector("canvas");
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return { caption: figure.innerText, size: [canvas.width, canvas.height], colours: new Set(data).size };
    }),
  );
  await choose(page, "view", "composite");
}

/** A radio button that its label covers, as people choose it. */
async function choose(page, name, value) {
  await page.check(`[name=${name}][value=${value}]`, { force: true });
}

/** Until what was under way when the page was paused is drawn. */
async function settled(page) {
  await page.waitForFunction(() => [...spied.pending.values()].every((count) => count === 0));
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
}

async function keepClip(page, name) {
  const { sizes, data } = await page.evaluate(() => {
    const { frames } = spied;
    return { sizes: frames.map(({ width, height }) => [width, height]), data: frames.map((frame) => spied.text(frame.data)) };
  });
  answers[name] = sizes;
  writeFileSync(join(folder, `${name}.rgba`), Buffer.concat(data.map((frame) => Buffer.from(frame, "latin1"))));
}

async function keep(page, id, name) {
  const data = await page.evaluate((id) => {
    const canvas = document.getElementById(id);
    return spied.text(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data);
  }, id);
  writeFileSync(join(folder, `${name}.rgba`), Buffer.from(data, "latin1"));
}

/** A picture, a video that is dropped, and what can be saved. */
async function inFiles(page) {
  await page.setInputFiles("#file", picture);
  await page.waitForFunction(() => document.getElementById("state").textContent.startsWith("picture.png at"));
  await settled(page);
  await keepClip(page, "still");
  await keep(page, "view-a", "still_colour");
  answers.stillFrames = answers.still.length;
  const [png] = await Promise.all([page.waitForEvent("download"), page.click("#png")]);
  await png.saveAs(join(folder, png.suggestedFilename()));
  answers.png = png.suggestedFilename();

  await drop(page, "notes.txt", "text/plain", Buffer.from("no video"));
  await page.waitForSelector("#alert:not([hidden])");
  answers.noVideo = await page.innerText("#message");
  answers.keptAfterError = await page.evaluate(() => !document.getElementById("png").disabled);
  await drop(page, "clip.webm", "video/webm", readFileSync(video));
  await page.waitForFunction(() => document.getElementById("state").textContent.startsWith("clip.webm at"));
  await frames(page, 3);
  answers.dropped = await page.evaluate(() => document.getElementById("state").textContent);
  answers.alertAfterDrop = await page.isVisible("#alert");

  await page.click("#record");
  await frames(page, 6);
  await page.waitForTimeout(500);
  const [webm] = await Promise.all([page.waitForEvent("download"), page.click("#record")]);
  await webm.saveAs(join(folder, webm.suggestedFilename()));
  answers.webm = webm.suggestedFilename();
}

async function drop(page, name, type, bytes) {
  await page.evaluate(
    ([name, type, text]) => {
      const transfer = new DataTransfer();
      const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
      transfer.items.add(new File([bytes], name, { type }));
      document.getElementById("stage").dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
    },
    [name, type, bytes.toString("base64")],
  );
}

/** The ONNX file beside the TensorFlow.js one, and then alone. */
async function besideAnother(page) {
  await page.selectOption("#model-b", "1");
  await page.waitForFunction(() => document.querySelector("[data-caption=difference]").textContent !== "");
  await frames(page, 4);
  answers.beside = await page.evaluate(() => [...document.querySelectorAll(".pane figcaption")].map((each) => each.textContent));
  await page.click("#pause");
  await settled(page);
  await keep(page, "view-difference", "difference_20");
  await page.fill("#amplify", "100");
  await keep(page, "view-difference", "difference_100");
  await beAccessible(page, "two models");
  await page.click("#pause");
  await page.selectOption("#model-b", "");
  await page.selectOption("#model-a", "1");
  await frames(page, 6);
  await page.click("#pause");
  await settled(page);
  await keepClip(page, "onnx_clip");
  await keep(page, "view-a", "onnx_colour");
  await page.click("#pause");
  await page.selectOption("#model-a", "0");
  await frames(page, 2);
}

/** Files of coefficients, whose full-size steps are shaders. */
async function byShaders(page) {
  for (const [model, name] of [["2", "onnx_line"], ["3", "tfjs_line"]]) {
    await page.selectOption("#model-a", model);
    await frames(page, 6);
    await page.click("#pause");
    await settled(page);
    await keepClip(page, `${name}_clip`);
    await keep(page, "view-a", `${name}_colour`);
    await page.click("#pause");
  }
  await page.selectOption("#model-a", "0");
  await frames(page, 2);
}

/** WebGL, its context lost as drivers lose it, and back. */
async function onAnotherBackend(page) {
  const runs = () => page.evaluate(() => document.getElementById("runs").textContent);
  await page.selectOption("#backend-a", "webgl");
  await page.waitForFunction(() => document.getElementById("runs").textContent === "WebGL");
  answers.webgl = await runs();
  await page.click("#pause");
  await settled(page);
  await keepClip(page, "webgl_clip");
  await keep(page, "view-a", "webgl_colour");
  await page.click("#pause");
  const worker = page.workers().findLast((each) => each.url().endsWith("/worker.js"));
  await worker.evaluate(() => self.tf.backend().gpgpu.gl.getExtension("WEBGL_lose_context").loseContext());
  const told = await page.waitForFunction(() => spied.said.find((text) => text.includes("lost")));
  answers.lost = await told.jsonValue();
  await frames(page, 1);
  answers.afterLoss = await runs();
  answers.alertAfterLoss = await page.isVisible("#alert");
  await page.selectOption("#backend-a", "wasm");
  await page.waitForFunction(() => document.getElementById("runs").textContent === "WebAssembly");
  answers.workers = page.workers().filter((each) => each.url().endsWith("worker.js")).length;
}

/** Tensors in the worker, and the JavaScript heaps of the page and of its worker, after so many frames. */
async function overManyFrames(page) {
  const session = await page.context().newCDPSession(page);
  const heapOf = await attached(session);
  await page.selectOption("#ratio", "0.125");
  const measure = async () => {
    const { memory } = await page.evaluate(() => spied.latest);
    await page.evaluate(() => (spied.frames = []));
    const heap = await page.evaluate(() => {
      window.gc();
      window.gc();
      return performance.memory.usedJSHeapSize;
    });
    return { ...memory, heap, worker: await heapOf() };
  };
  answers.memory = [];
  await frames(page, 60);
  for (let k = 0; k < 7; k++) {
    answers.memory.push(await measure());
    if (k < 6) {
      await frames(page, 50);
    }
  }
}

/** What asks the page's newest worker how large its heap is, after a collection. */
async function attached(session) {
  let last = 0;
  let newest;
  const waiting = new Map();
  session.on("Target.attachedToTarget", ({ sessionId, targetInfo }) => {
    if (targetInfo.url.endsWith("/worker.js")) {
      newest = sessionId;
    }
  });
  session.on("Target.receivedMessageFromTarget", ({ message }) => {
    const { id, result } = JSON.parse(message);
    waiting.get(id)?.(result);
  });
  await session.send("Target.setAutoAttach", { autoAttach: true, waitForDebuggerOnStart: false, flatten: false });
  const ask = async (method) => {
    for (;;) {
      const id = ++last;
      const answer = new Promise((resolve) => waiting.set(id, resolve));
      const late = new Promise((resolve) => setTimeout(resolve, 5000, null));
      const message = JSON.stringify({ id, method, params: {} });
      // The worker of the backend before may be ending, and then answers nothing.
      await session.send("Target.sendMessageToTarget", { sessionId: newest, message }).catch(() => {});
      const result = await Promise.race([answer, late]);
      if (result !== null) {
        return result;
      }
    }
  };
  return async () => {
    await ask("HeapProfiler.collectGarbage");
    return (await ask("Runtime.getHeapUsage")).usedSize;
  };
}

/** A browser that has no camera, and one whose user says no; a model that cannot be loaded, and one too large. */
async function withoutCamera(context) {
  answers.refused = {};
  for (const name of ["NotFoundError", "NotAllowedError"]) {
    const page = await context.newPage();
    await page.addInitScript((name) => {
      navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", name));
    }, name);
    await page.goto(address);
    await page.click("#camera");
    await page.waitForSelector("#alert:not([hidden])");
    answers.refused[name] = { text: await page.innerText("#message"), role: await page.getAttribute("#alert", "role") };
    await page.close();
  }
  answers.refused.model = await troubledBy(context, "**/models/**", { status: 404 });
  const full = "onmessage = ({ data: { id } }) => postMessage({ id, error: 'Array buffer allocation failed' });";
  answers.refused.memory = await troubledBy(context, "**/worker.js", asWorker(full));
}

/** A script that an isolated page takes for its worker's. */
function asWorker(body) {
  return { body, headers: { "Content-Type": "text/javascript", "Cross-Origin-Embedder-Policy": "require-corp" } };
}

async function troubledBy(context, what, answer) {
  const page = await context.newPage();
  await page.route(what, (route) => route.fulfill(answer));
  await page.goto(address);
  await page.waitForSelector("#alert:not([hidden])");
  const found = { text: await page.innerText("#message"), role: await page.getAttribute("#alert", "role") };
  await page.close();
  return found;
}

/** A driver that always takes the context away again. */
async function lostForGood(context) {
  const page = await context.newPage();
  const body = `onmessage = ({ data: { id } }) => {
    postMessage({ id, result: { threads: 1 } });
    setTimeout(postMessage, 100, { event: "lost" });
  };`;
  await page.route("**/worker.js", (route) => route.fulfill(asWorker(body)));
  await page.goto(address);
  await page.selectOption("#backend-a", "webgl");
  const told = await page.waitForFunction(() => spied.said.find((text) => text.includes("on to WebAssembly")));
  answers.lostForGood = { told: await told.jsonValue(), backend: await page.inputValue("#backend-a") };
  await page.close();
}

/** As a folder on a server that sets no headers, below its root. */
async function onPlainServer(context) {
  const page = await opened(context, plain);
  await page.waitForFunction(() => crossOriginIsolated && document.getElementById("state").textContent === "Ready");
  await page.setInputFiles("#file", picture);
  await page.selectOption("#resolution", "160");
  await page.waitForFunction(() => document.getElementById("state").textContent.startsWith("picture.png at"));
  const policy = await page.evaluate(async () => (await fetch("app.js")).headers.get("content-security-policy"));
  answers.elsewhere = { isolated: await page.evaluate(() => crossOriginIsolated), policy };
  await page.close();
}
