// Run one graph model in TensorFlow.js's WebAssembly backend, for exporters/support/tensor_pipe.py:
//   node node.mjs folder execute|executeAsync

import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { decode, encode, failure } from "../../support/web/messages.mjs";
import { answer, requests } from "../../support/web/pipe.mjs";
import { load } from "./player.mjs";

// stdout is for the messages: print the library's output to stderr.
console.log = console.info = console.debug = console.error;

try {
  const [folder, method] = process.argv.slice(2);
  // Import them here, after their console was redirected.
  const { default: tf } = await import("@tensorflow/tfjs");
  await import("@tensorflow/tfjs-backend-wasm");
  const run = await load(tf, "wasm", fromFolder(tf, folder), method);
  await answer(encode([]));
  for await (const { header, body } of requests()) {
    await answer(encode(await run(header.outputs, decode(header, body))));
  }
} catch (error) {
  await answer(failure(error));
  process.exitCode = 1;
}

/** Return a tfjs source that reads a model from a folder: tfjs itself supports only URLs. */
function fromFolder(tf, folder) {
  return {
    async load() {
      const model = JSON.parse(await readFile(join(folder, "model.json"), "utf8"));
      return tf.io.getModelArtifactsForJSON(model, async (manifest) => {
        const paths = manifest.flatMap((group) => group.paths);
        const shards = await Promise.all(paths.map((path) => readFile(join(folder, path))));
        return [manifest.flatMap((group) => group.weights), new Uint8Array(Buffer.concat(shards)).buffer];
      });
    },
  };
}
