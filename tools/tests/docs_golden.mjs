// Runs tools/targets/examples/golden.mjs for test_docs_examples.py: LIBRARY FOLDER MODEL GOLDEN VARIANT SIZE
// Writes the largest errors as JSON.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

import { largestErrors, readNpz } from "../../tools/targets/examples/golden.mjs";

const [library, folder, model, golden, variant, size] = process.argv.slice(2);
console.log = console.info = console.warn = () => {};
const ort = createRequire(join(folder, "package.json"))(library);
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(readFileSync(model));
const { buffer, byteOffset, byteLength } = readFileSync(golden);
const arrays = readNpz(buffer.slice(byteOffset, byteOffset + byteLength));
const errors = await largestErrors(ort, session, arrays, variant, size);
process.stdout.write(JSON.stringify(errors), () => process.exit(0));
