// Runs one ONNX file in onnxruntime-web's WebAssembly build, as exporters/onnx/process.py asks:
//   node main.mjs model.onnx
// A message, either way, is a line of JSON and then the bytes of its tensors, in order:
//   {"outputs": ["pha"], "tensors": [{"name": "src", "dtype": "float32", "shape": [1, 3, 360, 640]}]}
// A request says which outputs it wants. The first answer, before any request, has no tensors and says that the file is
// loaded; one with an "error" is the last.

import { readFileSync, readSync, writeSync } from "node:fs";

const STDIN = 0;
const STDOUT = 1;

// stdout belongs to the messages, whatever the library has to say.
console.log = console.info = console.debug = console.error;

try {
  // Not above, where it would be loaded before its console is the one for people.
  const ort = await import("onnxruntime-web");
  ort.env.wasm.numThreads = 1; // what a page has that is not cross-origin isolated
  const session = await ort.InferenceSession.create(readFileSync(process.argv[2]), { executionProviders: ["wasm"] });
  write({ tensors: [] }, []);
  for (let line = readLine(); line !== null; line = readLine()) {
    const { outputs, tensors } = JSON.parse(line);
    const feeds = tensors.map(({ name, dtype, shape }) => [name, new ort.Tensor(dtype, readData(dtype, shape), shape)]);
    const given = await session.run(Object.fromEntries(feeds), outputs);
    const headers = outputs.map((name) => ({ name, dtype: given[name].type, shape: given[name].dims }));
    write({ tensors: headers }, outputs.map((name) => given[name].data));
  }
  process.exit(0);
} catch (error) {
  write({ error: String(error?.message ?? error).split("\n")[0], tensors: [] }, []);
  process.exit(1);
}

function readData(dtype, shape) {
  // Half floats travel as their bits.
  const Elements = { float32: Float32Array, float16: Uint16Array, uint8: Uint8Array }[dtype];
  const data = new Elements(shape.reduce((product, axis) => product * axis, 1));
  const bytes = new Uint8Array(data.buffer);
  for (let filled = 0; filled < bytes.length; ) {
    const count = readSync(STDIN, bytes, { offset: filled });
    if (count === 0) {
      process.exit(0);
    }
    filled += count;
  }
  return data;
}

/** The next line, or null where there is none any more. */
function readLine() {
  const byte = new Uint8Array(1);
  const line = [];
  while (readSync(STDIN, byte) === 1) {
    if (byte[0] === 0x0a) {
      return Buffer.from(line).toString();
    }
    line.push(byte[0]);
  }
  return null;
}

function write(header, arrays) {
  const parts = [Buffer.from(`${JSON.stringify(header)}\n`), ...arrays];
  for (const { buffer, byteOffset, byteLength } of parts) {
    const bytes = new Uint8Array(buffer, byteOffset, byteLength);
    for (let written = 0; written < bytes.length; ) {
      written += writeSync(STDOUT, bytes, written);
    }
  }
}
