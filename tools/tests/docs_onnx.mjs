// Runs tools/targets/examples/onnx.mjs for test_docs_examples.py: LIBRARY FOLDER MODEL WIDTH HEIGHT RATIO < frames.rgba
// Writes the float32 alpha of all frames, and then the last frame as the example draws it.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

import { mattes, toPixels } from "../../tools/targets/examples/onnx.mjs";

const [library, folder, model, ...numbers] = process.argv.slice(2);
const [width, height, ratio] = numbers.map(Number);
console.log = console.info = console.warn = () => {};
const ort = createRequire(join(folder, "package.json"))(library);
if (library === "onnxruntime-web") {
  ort.env.wasm.numThreads = 1;
}
const session = await ort.InferenceSession.create(readFileSync(model));
const bytes = readFileSync(0);
const size = 4 * width * height;
const frames = [];
for (let start = 0; start < bytes.length; start += size) {
  frames.push({ data: new Uint8ClampedArray(bytes.subarray(start, start + size)), width, height });
}
let last = null;
for await (const matte of mattes(ort, session, frames, ratio)) {
  const { data } = matte.pha;
  process.stdout.write(Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  last = matte;
}
process.stdout.write(Buffer.from(toPixels(last).buffer), () => process.exit(0));
