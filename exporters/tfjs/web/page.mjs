// The part of chromium.mjs that runs in the page: it fetches a request, runs it and posts the answer.

/* global tf */

import { decode, encode, endOfLine } from "/web/messages.mjs";
import { load } from "/player.mjs";

window.start = async (backend, method) => {
  if (!crossOriginIsolated) {
    throw new Error("the page is not cross-origin isolated, and would have no threads");
  }
  tf.wasm?.setWasmPaths("/wasm/");
  const run = await load(tf, backend, "/model/model.json", method);

  window.frame = async () => {
    const message = new Uint8Array(await (await fetch("/request")).arrayBuffer());
    const end = endOfLine(message);
    const header = JSON.parse(new TextDecoder().decode(message.subarray(0, end)));
    const answers = await run(header.outputs, decode(header, message.subarray(end)));
    await fetch("/answer", { method: "POST", body: new Blob(encode(answers)) });
  };
};
