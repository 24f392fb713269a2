// The messages of exporters/support/tensor_pipe.py: a line of JSON and then the bytes of its tensors, in order.
// Nothing here depends on Node, so that a page can use it too.

// Half floats travel as their bits.
const ELEMENTS = { float32: Float32Array, float16: Uint16Array, uint8: Uint8Array };
const NEWLINE = 0x0a;

/** Return how many bytes of tensors follow a header. */
export function lengthOf({ tensors }) {
  return tensors.reduce((sum, tensor) => sum + byteLength(tensor), 0);
}

/** Return a header's tensors with their data, taken from the bytes that followed it. */
export function decode({ tensors }, bytes) {
  let start = bytes.byteOffset;
  return tensors.map((tensor) => {
    const end = start + byteLength(tensor);
    const data = new ELEMENTS[tensor.dtype](bytes.buffer.slice(start, end));
    start = end;
    return { ...tensor, data };
  });
}

/** Return a message's parts, as bytes. */
export function encode(tensors) {
  const header = { tensors: tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape })) };
  const bytes = tensors.map(({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return [line(header), ...bytes];
}

/** Return the error message, which is a program's last. */
export function failure(error) {
  return [line({ error: String(error?.message ?? error).trim().split("\n")[0], tensors: [] })];
}

/** Return the index after the first newline, or 0 if there is none yet. */
export function endOfLine(bytes) {
  return bytes.indexOf(NEWLINE) + 1;
}

function line(header) {
  return new TextEncoder().encode(`${JSON.stringify(header)}\n`);
}

function byteLength({ dtype, shape }) {
  return shape.reduce((product, axis) => product * axis, ELEMENTS[dtype].BYTES_PER_ELEMENT);
}
