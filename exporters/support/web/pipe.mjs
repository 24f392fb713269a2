// Read requests and write answers in a program that exporters/support/tensor_pipe.py runs.

import { endOfLine, lengthOf } from "./messages.mjs";

/** Yield requests from stdin, one after the other: a header, and the bytes of its tensors. */
export async function* requests() {
  let rest = Buffer.alloc(0);
  let header = null;
  let body = null;
  let filled = 0;
  for await (const chunk of process.stdin) {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length > 0) {
      if (header === null) {
        const end = endOfLine(rest);
        if (end === 0) {
          break;
        }
        header = JSON.parse(rest.toString("utf8", 0, end));
        body = new Uint8Array(lengthOf(header));
        rest = rest.subarray(end);
        filled = 0;
      }
      const part = rest.subarray(0, body.length - filled);
      body.set(part, filled);
      filled += part.length;
      rest = rest.subarray(part.length);
      if (filled === body.length) {
        yield { header, body };
        header = null;
      }
    }
  }
}

/** Write the parts of a message, as `encode` and `failure` return them, to stdout. */
export async function answer(parts) {
  for (const part of parts) {
    await new Promise((resolve, reject) => process.stdout.write(part, (error) => (error ? reject(error) : resolve())));
  }
}
