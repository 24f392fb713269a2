// Run one ONNX file in onnxruntime-web's WebAssembly build, for exporters/support/tensor_pipe.py:
//   node main.mjs model.onnx

import { readFileSync } from "node:fs";

import { decode, encode, failure } from "../../support/web/messages.mjs";
import { answer, requests } from "../../support/web/pipe.mjs";

// stdout is for the messages: print the library's output to stderr.
console.log = console.info = console.debug = console.error;

try {
  // Import it here, after its console was redirected.
  const ort = await import("onnxruntime-web");
  ort.env.wasm.numThreads = 1; // as in a page that is not cross-origin isolated

  const session = await ort.InferenceSession.create(readFileSync(process.argv[2]), { executionProviders: ["wasm"] });
  await answer(encode([]));
  for await (const { header, body } of requests()) {
    const feeds = decode(header, body).map(({ name, dtype, shape, data }) => [name, new ort.Tensor(dtype, data, shape)]);
    const given = await session.run(Object.fromEntries(feeds), header.outputs);
    await answer(
      encode(header.outputs.map((name) => ({ name, dtype: given[name].type, shape: given[name].dims, data: given[name].data }))),
    );
  }
  process.exit(0);
} catch (error) {
  await answer(failure(error));
  process.exit(1);
}
