// The page: the user's choices, the loop over frames, and the output.

import { backendsFor, backendsOf, usualBackend } from "./backends.js";
import { Matte, drawDifference, put } from "./draw.js";
import { Closed, Engine } from "./engine.js";
import { factsOf, megabytes } from "./facts.js";
import { Measure } from "./measure.js";
import { Recording, savePng } from "./save.js";
import { openCamera, openFile, openPicture } from "./source.js";

const LOSSES = { most: 3, within: 60_000 }; // losses of the graphics context before wasm takes over; within milliseconds

const get = (id) => document.getElementById(id);
const chosen = (name) => document.querySelector(`[name=${name}]:checked`).value;
const grab = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });

const mattes = { a: new Matte(), b: new Matte() };
const engines = { a: null, b: null };
const begun = { a: 0, b: 0 }; // number of engines requested for each side; only the latest counts
const measure = new Measure();
const losses = [];

let models = [];
let available = {};
let source = null;
let picture = null;
let paused = false;
let stale = true; // whether a still picture must be matted again
let looping = false;
let states = [];
let recording = null;

// ---- The loop over frames

/** Matte while there are new frames. */
async function play() {
  if (looping) {
    return;
  }
  looping = true;
  let last = -1;
  while (source && engines.a && !paused && (!source.still || stale)) {
    const time = source.element.currentTime;
    if (!source.still && time === last && !stale) {
      resume(); // browsers pause videos that they consider invisible
      await painted();
      continue;
    }
    [last, stale] = [time, false];
    try {
      await matte();
      await painted();
    } catch (error) {
      if (!(error instanceof Closed)) {
        complain(error.message, "model");
        break;
      }
    }
  }
  looping = false;
}

/** Run one frame through each engine, and draw the results. */
async function matte() {
  const from = source;
  const sides = ["a", "b"].filter((side) => engines[side]);
  const asPicture = engines.a.about.draws && sides.length === 1 && ["composite", "states"].includes(chosen("view"));
  const frame = await (asPicture ? pictured : grabbed)(source, Number(get("resolution").value));
  const ratio = Number(get("ratio").value) || Math.min(512 / Math.max(frame.width, frame.height), 1);
  const options = { withStates: chosen("view") === "states", asPicture };
  const results = await Promise.all(sides.map((side) => engines[side].matte(frame, ratio, options)));
  if (source !== from) {
    return; // stopped, or another model or source was chosen meanwhile
  }
  results.forEach((result, k) => mattes[sides[k]].set(frame, result));
  frame.close?.();
  states = results[0].states;
  measure.add(results.map(({ milliseconds }) => milliseconds), results[0].memory);
  draw();
  showFigures(ratio);
}

function sizeOf({ width, height }, longest) {
  const scale = longest ? Math.min(longest / Math.max(width, height), 1) : 1;
  return [width, height].map((side) => Math.max(Math.round(side * scale), 1));
}

/** Return the current frame as an ImageBitmap, whose pixels need not leave the GPU. */
function pictured(source, longest) {
  const [resizeWidth, resizeHeight] = sizeOf(source, longest);
  return createImageBitmap(source.element, { resizeWidth, resizeHeight, resizeQuality: "high" });
}

/** Return the current frame as ImageData. */
function grabbed(source, longest) {
  const { element } = source;
  const size = sizeOf(source, longest);
  const { canvas } = grab;
  if (canvas.width !== size[0] || canvas.height !== size[1]) {
    [canvas.width, canvas.height] = size;
    grab.imageSmoothingQuality = "high";
  }
  grab.clearRect(0, 0, ...size);
  grab.drawImage(element, 0, 0, ...size);
  return grab.getImageData(0, 0, ...size);
}

function painted() {
  return new Promise((resolve) => requestAnimationFrame(resolve));
}

// ---- Output

function draw() {
  const view = chosen("view");
  const { width, height } = mattes.a;
  if (!source || mattes.a.empty) {
    return;
  }
  get("stage").style.setProperty("--aspect", width / height);
  const ofStates = view === "states" && states.length > 0; // the states come with the next frame
  get("states").hidden = !ofStates;
  get("panes").hidden = ofStates;
  if (view === "states") {
    drawStates();
    return;
  }
  const background = { kind: chosen("background"), colour: get("colour").value, picture };
  const two = engines.b !== null && mattes.b.pixels.length === mattes.a.pixels.length;
  mattes.a.draw(get("view-a"), view, background);
  document.querySelectorAll("[data-pane]:not([data-pane=a])").forEach((pane) => (pane.hidden = !two));
  get("panes").dataset.two = two;
  if (two) {
    mattes.b.draw(get("view-b"), view, background);
    drawCaptions(width, height);
  } else {
    caption("a", "");
  }
  const before = pressed("compare-before") && !two;
  get("before").hidden = get("split").hidden = !before;
  if (before) {
    const canvas = get("before");
    Object.assign(canvas, { width, height });
    canvas.getContext("2d").drawImage(mattes.a.source, 0, 0);
  }
}

function drawCaptions(width, height) {
  const amplify = Number(get("amplify").value);
  const { pixels } = mattes.a;
  const apart = drawDifference(get("view-difference"), pixels, mattes.b.pixels, width, height, amplify);
  ["a", "b"].forEach((side, k) => {
    const milliseconds = measure.times[k]?.toFixed(0) ?? "–";
    caption(side, `${modelOf(side).name} · ${available[get(`backend-${side}`).value]} · ${milliseconds} ms`);
  });
  const [largest, mean] = [apart.largest, apart.mean].map((value) => (255 * value).toFixed(2));
  caption("difference", `Alpha's difference × ${amplify} · at most ${largest}, on average ${mean} of 255`);
}

function caption(pane, text) {
  document.querySelector(`[data-caption=${pane}]`).textContent = text;
}

function drawStates() {
  const grid = get("states");
  while (grid.children.length < states.length) {
    const figure = document.createElement("figure");
    const canvas = document.createElement("canvas");
    canvas.role = "img";
    canvas.ariaLabel = `Recurrent state ${grid.children.length + 1}, its channels side by side`;
    figure.append(canvas, document.createElement("figcaption"));
    grid.append(figure);
  }
  states.forEach(({ width, height, pixels, channels, size }, k) => {
    const [canvas, text] = grid.children[k].children;
    put(canvas, new ImageData(pixels, width, height));
    text.textContent = `r${k + 1} · ${channels} channels of ${size}`;
  });
}

function showFigures(ratio) {
  if (!measure.due()) {
    return;
  }
  const { times, fps, memory } = measure;
  const bytes = memory?.bytes ?? measure.page;
  get("time").textContent = times.map((time) => time.toFixed(time < 10 ? 1 : 0)).join(" | ");
  get("fps").textContent = source.still ? "–" : fps.toFixed(fps < 10 ? 1 : 0);
  get("memory").textContent = bytes ? megabytes(bytes) : "–";
  get("tensors").textContent = memory ? `in ${memory.tensors} tensors` : bytes ? "the whole page" : "not told yet";
  get("runs").textContent = available[get("backend-a").value];
  const { threads } = engines.a?.about ?? {};
  get("threads").textContent = threads > 1 ? `${threads} threads` : "";
  const { width, height } = mattes.a;
  const fixed = modelOf("a").fixed;
  const at = fixed ? `, by a file for ${fixed.width} × ${fixed.height}` : `, ratio ${Number(ratio.toFixed(3))}`;
  say(`${source.name} at ${width} × ${height}${at}`);
}

function say(text) {
  const state = get("state");
  if (state.textContent !== text) {
    state.textContent = text;
  }
}

/** Show an error and its subject to the user, or hide it if the text is empty. */
function complain(text = "", what = "") {
  get("alert").dataset.what = what;
  get("alert").hidden = !text;
  get("message").textContent = text;
  if (text) {
    say("Stopped");
  }
}

// ---- Models

function modelOf(side) {
  return models[get(`model-${side}`).value];
}

function fillModels() {
  const option = (text, value) => new Option(text, value);
  get("model-a").replaceChildren(...models.map(({ name }, k) => option(name, k)));
  get("model-b").replaceChildren(option("None", ""), ...models.map(({ name }, k) => option(name, k)));
  fillBackends("a");
}

function fillBackends(side) {
  const model = modelOf(side);
  const there = backendsFor(model.format).filter((backend) => backend in available);
  get(`backend-${side}`).replaceChildren(...there.map((backend) => new Option(available[backend], backend)));
  get(`backend-${side}`).value = usualBackend(model.format, available);
  if (side === "a") {
    get("facts").replaceChildren(...factsOf(model).flatMap(([name, value]) => [inTag("dt", name), inTag("dd", value)]));
    get("ratio").disabled = model.fixed !== null;
  }
}

function inTag(tag, text) {
  return Object.assign(document.createElement(tag), { textContent: text });
}

/** Start an engine for the chosen model and backend. Close the previous one, which frees its memory. */
async function startEngine(side) {
  const mine = ++begun[side];
  engines[side]?.close();
  engines[side] = null;
  const model = modelOf(side);
  get("beside").hidden = !modelOf("b");
  get("compare-before").disabled = Boolean(modelOf("b"));
  if (!model) {
    again();
    return;
  }
  const backend = get(`backend-${side}`).value;
  say(`Loading ${model.name} on ${available[backend]}`);
  try {
    const engine = await Engine.start(model, backend);
    if (mine !== begun[side]) {
      engine.close();
      return;
    }
    engine.onLost = () => recover(side);
    engines[side] = engine;
    if (get("alert").dataset.what === "model") {
      complain();
    }
    say(source ? `Warming up on ${available[backend]}` : "Ready");
    again();
  } catch (error) {
    if (mine === begun[side]) {
      complain(`${model.name} does not run on ${available[backend]}: ${error.message}`, "model");
    }
  }
}

/** Restart after a lost graphics context; switch to wasm if that happens too often. */
function recover(side) {
  const now = performance.now();
  losses.push(now);
  const often = losses.filter((time) => now - time < LOSSES.within).length >= LOSSES.most;
  if (often) {
    get(`backend-${side}`).value = "wasm";
  }
  startEngine(side);
  say(often ? "The graphics context is lost again and again: on to WebAssembly" : "The graphics context was lost: starting again");
}

/** Reset the states after a new choice, and matte again. */
function again() {
  Object.values(engines).forEach((engine) => engine?.reset().catch(() => {}));
  measure.clear();
  stale = true;
  draw();
  play();
}

// ---- Sources

async function openSource(open) {
  complain();
  say("Opening");
  try {
    const opened = await open();
    source?.stop();
    source = opened;
  } catch (error) {
    complain(error.message);
    return;
  }
  pause(false);
  sourceChanged();
  again();
}

function sourceChanged() {
  const live = source?.element.srcObject instanceof MediaStream;
  get("empty").hidden = source !== null;
  get("panes").hidden = source === null;
  get("stage").toggleAttribute("data-empty", source === null);
  get("camera").textContent = live ? "Stop" : "Camera";
  get("camera").dataset.do = live ? "stop" : "camera";
  get("camera").classList.toggle("primary", source === null);
  ["pause", "reset", "png", "record"].forEach((id) => (get(id).disabled = source === null));
  get("pause").disabled = source === null || source.still;
  if (source && Recording.kind === null) {
    Object.assign(get("record"), { disabled: true, title: "This browser does not record" });
  }
}

function pause(value) {
  paused = value;
  get("pause").ariaPressed = value;
  get("pause").textContent = value ? "Go on" : "Pause";
  if (value) {
    source?.element.pause?.();
  } else {
    resume();
  }
}

function resume() {
  if (source?.element.paused) {
    source.element.play().catch(() => {}); // a pause rejects the promise
  }
}

async function stopSource() {
  await stopRecording();
  source?.stop();
  source = null;
  states = [];
  sourceChanged();
  get("states").hidden = true;
  measure.clear();
  say("Ready");
}

async function stopRecording() {
  const one = recording;
  recording = null;
  get("record").ariaPressed = false;
  get("record").lastElementChild.textContent = "Record";
  await one?.save(fileName());
}

function fileName() {
  const base = source ? source.name.replace(/\.\w+$/, "") : "matte";
  return `${base}_matte`;
}

// ---- Input

const DO = {
  camera: () => openSource(openCamera),
  stop: stopSource,
  open: () => get("file").click(),
  background: () => get("background-file").click(),
  dismiss: () => complain(),
  before(button) {
    button.ariaPressed = !pressed(button.id);
    draw();
  },
  pause() {
    pause(!paused);
    play();
  },
  reset: again,
  png: () => savePng(mattes.a.cutout, fileName()),
  async record() {
    if (recording) {
      await stopRecording();
      return;
    }
    const kind = Recording.kind;
    try {
      recording = new Recording(kind.alpha ? mattes.a.cutout : get("view-a"), kind);
    } catch (error) {
      complain(`This browser does not record: ${error.message}`);
      return;
    }
    get("record").ariaPressed = true;
    get("record").lastElementChild.textContent = kind.alpha ? "Stop" : "Stop (no alpha)";
  },
};

const CHANGED = {
  file: ({ files }) => files[0] && openSource(() => openFile(files[0])),
  "background-file": ({ files }) => files[0] && setPicture(files[0]),
  resolution: again,
  ratio: again,
  "model-a"() {
    fillBackends("a");
    startEngine("a");
  },
  "backend-a": () => startEngine("a"),
  "model-b"({ value }) {
    if (value !== "") {
      fillBackends("b");
    }
    startEngine("b");
  },
  "backend-b": () => startEngine("b"),
};

const INPUT = {
  colour({ value }) {
    get("swatch").style.setProperty("--colour", value);
    draw();
  },
  amplify({ value }) {
    get("amplify-value").textContent = `× ${value}`;
    draw();
  },
  split: ({ value }) => get("stage").style.setProperty("--split", value / 100),
  view({ value }) {
    get("stage").dataset.view = value;
    stale ||= ["states", "foreground"].includes(value); // a still picture's are not there yet
    draw();
    play();
  },
  background({ value }) {
    get("stage").dataset.background = value;
    get("colour-field").hidden = value !== "colour";
    get("picture-field").hidden = value !== "picture";
    if (value === "picture" && !picture) {
      DO.background();
    }
    draw();
  },
};

async function setPicture(file) {
  try {
    picture = await openPicture(file);
    complain();
    draw();
  } catch (error) {
    complain(error.message);
  }
}

function pressed(id) {
  return get(id).ariaPressed === "true";
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-do]");
  if (button) {
    DO[button.dataset.do](button);
  }
});
document.addEventListener("change", ({ target }) => CHANGED[target.id]?.(target));
document.addEventListener("input", ({ target }) => (INPUT[target.id] ?? INPUT[target.name])?.(target));
get("controls").addEventListener("submit", (event) => event.preventDefault());

// Clear the value, so that choosing the same file again fires a change event.
["file", "background-file"].forEach((id) => get(id).addEventListener("click", ({ target }) => (target.value = "")));

let inside = 0; // entering a child leaves its parent
document.addEventListener("dragenter", () => get("stage").toggleAttribute("data-over", ++inside > 0));
document.addEventListener("dragleave", () => get("stage").toggleAttribute("data-over", --inside > 0));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  get("stage").toggleAttribute("data-over", (inside = 0) > 0);
  const [file] = event.dataTransfer.files;
  if (file) {
    openSource(() => openFile(file));
  }
});

// ---- Start

try {
  models = await (await fetch("models.json")).json();
  available = await backendsOf();
  fillModels();
  await startEngine("a");
} catch (error) {
  complain(error.message);
}
