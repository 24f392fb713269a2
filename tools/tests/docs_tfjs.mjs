// Runs docs/examples/tfjs_by_hand.mjs for test_docs_examples.py: WEB-FOLDER MODEL-FOLDER WIDTH HEIGHT RATIO < frames.rgba
// Writes the float32 alpha of all frames, and ends with 1 if tensors are left behind.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

import { mattes } from "../../docs/examples/tfjs_by_hand.mjs";

const [web, folder, ...numbers] = process.argv.slice(2);
const [width, height, ratio] = numbers.map(Number);
console.log = console.info = console.warn = () => {};
const require = createRequire(join(web, "package.json"));
const tf = require("@tensorflow/tfjs");
require("@tensorflow/tfjs-backend-wasm");
await tf.setBackend("wasm");
const model = await tf.loadGraphModel({
  async load() {
    const json = JSON.parse(readFileSync(join(folder, "model.json"), "utf8"));
    return tf.io.getModelArtifactsForJSON(json, (manifest) => {
      const shards = manifest.flatMap((group) => group.paths).map((path) => readFileSync(join(folder, path)));
      return [manifest.flatMap((group) => group.weights), new Uint8Array(Buffer.concat(shards)).buffer];
    });
  },
});
const bytes = readFileSync(0);
const before = tf.memory().numTensors;

function* frames() {
  for (let start = 0; start < bytes.length; start += 4 * width * height) {
    const rgba = tf.tensor(new Uint8Array(bytes.subarray(start, start + 4 * width * height)), [height, width, 4]);
    const frame = tf.tidy(() => rgba.slice([0, 0, 0], [height, width, 3]).toFloat().div(255));
    yield frame;
    tf.dispose([rgba, frame]);
  }
}

for await (const { fgr, pha } of mattes(tf, model, frames(), ratio)) {
  process.stdout.write(Buffer.from((await pha.data()).slice().buffer));
  tf.dispose([fgr, pha]);
}
const left = tf.memory().numTensors - before;
process.stdout.write("", () => process.exit(left === 0 ? 0 : 1));
