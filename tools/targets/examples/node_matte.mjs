// Alpha of raw RGBA frames: node matte.mjs WIDTH HEIGHT RATIO < frames.rgba > alpha.gray

import { once } from "node:events";
import * as ort from "onnxruntime-node";

import { mattes } from "./onnx.mjs";

const [width, height, ratio] = process.argv.slice(2).map(Number);
const session = await ort.InferenceSession.create("rvm_mobilenetv3_fp32.onnx");

/** Whole frames of stdin, whatever pieces they come in. */
async function* frames() {
  const frame = new Uint8ClampedArray(4 * width * height);
  let filled = 0;
  for await (let bytes of process.stdin) {
    while (bytes.length > 0) {
      const piece = bytes.subarray(0, frame.length - filled);
      frame.set(piece, filled);
      filled += piece.length;
      bytes = bytes.subarray(piece.length);
      if (filled === frame.length) {
        yield { data: frame, width, height };
        filled = 0;
      }
    }
  }
}

for await (const { pha } of mattes(ort, session, frames(), ratio)) {
  const alpha = Uint8Array.from(pha.data, (value) => Math.round(255 * value));
  if (!process.stdout.write(alpha)) {
    await once(process.stdout, "drain");
  }
}
