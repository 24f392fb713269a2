// Plays the frames of golden.npz, and exits with 1 if a matte is not PyTorch's to 1e-4.

import { readFileSync } from "node:fs";
import * as ort from "onnxruntime-node";

import { largestErrors, readNpz } from "./golden.mjs";

const { buffer, byteOffset, byteLength } = readFileSync("golden.npz");
const arrays = readNpz(buffer.slice(byteOffset, byteOffset + byteLength));
const session = await ort.InferenceSession.create("rvm_mobilenetv3_fp32.onnx");
let right = true;
for (const size of ["96x64", "80x45"]) {
  const errors = await largestErrors(ort, session, arrays, "mobilenetv3", size);
  console.log(size, errors);
  right &&= Object.values(errors).every((error) => error <= 1e-4);
}
process.exitCode = right ? 0 : 1;
