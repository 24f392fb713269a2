// Run rvm.js in Node for test_rvm.py: node rvm_node.mjs RVM.JS MODEL-FOLDER WEB-FOLDER. Prints one line of JSON.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [module, folder, web] = process.argv.slice(2);
console.log = console.info = console.warn = () => {};
const require = createRequire(join(web, "package.json"));
const tf = require("@tensorflow/tfjs");
require("@tensorflow/tfjs-backend-wasm");
await tf.setBackend("wasm");
const { Matting } = await import(pathToFileURL(module));

const source = {
  async load() {
    const model = JSON.parse(readFileSync(join(folder, "model.json"), "utf8"));
    return tf.io.getModelArtifactsForJSON(model, (manifest) => {
      const shards = manifest.flatMap((group) => group.paths).map((path) => readFileSync(join(folder, path)));
      return [manifest.flatMap((group) => group.weights), new Uint8Array(Buffer.concat(shards)).buffer];
    });
  },
};
const frame = (k) => tf.tidy(() => tf.randomUniform([48, 64, 3], 0, 1, "float32", k + 1));

const matting = await Matting.load(tf, source, { downsampleRatio: 0.5 });
const counts = [];
let last = null;
for (let k = 0; k < 60; k++) {
  const src = frame(k % 20);
  const { fgr, pha } = matting.matte(src);
  if (k === 19) {
    last = { fgr: [...(await fgr.data())], pha: [...(await pha.data())], shapes: [fgr.shape, pha.shape] };
  }
  tf.dispose([src, fgr, pha]);
  counts.push(tf.memory().numTensors);
}

// Run the same twenty frames without rvm.js, by the model's contract.
const model = await tf.loadGraphModel(source);
let states = [0, 0, 0, 0].map((value) => tf.scalar(value));
let expected = null;
for (let k = 0; k < 20; k++) {
  const [r1i, r2i, r3i, r4i] = states;
  const inputs = { src: frame(k).expandDims(0), r1i, r2i, r3i, r4i, downsample_ratio: tf.scalar(0.5) };
  const [fgr, pha, ...after] = model.execute(inputs, ["fgr", "pha", "r1o", "r2o", "r3o", "r4o"]);
  states = after;
  expected = { fgr: [...(await fgr.data())], pha: [...(await pha.data())] };
}

// Test a reset, another size, and a call inside the caller's tidy.
const first = async (size) => {
  const src = tf.ones([size, size, 3]).mul(0.3);
  const { pha } = tf.tidy(() => matting.matte(src));
  return [...(await pha.data())];
};
matting.reset();
const once = await first(40);
await first(56);
const again = await first(40);

const errors = [];
for (const [ratio, batch] of [[2, 1], [NaN, 1], [0.001, 1], [0.5, 2]]) {
  matting.downsampleRatio = ratio;
  try {
    matting.matte(tf.stack(Array(batch).fill(frame(0))));
  } catch (error) {
    errors.push(`${error.name}: ${error.message}`);
  }
}
model.dispose();
const before = tf.memory().numTensors;
matting.dispose();
process.stdout.write(
  JSON.stringify({ counts, last, expected, once, again, errors, given_back: before - tf.memory().numTensors }) + "\n",
);
