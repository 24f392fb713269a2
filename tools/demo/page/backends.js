// The backends of this browser, and the default for a model.

const NAMES = { wasm: "WebAssembly", webgl: "WebGL", webgpu: "WebGPU" };
const OF_FORMAT = { tfjs: ["wasm", "webgl", "webgpu"], onnx: ["wasm", "webgpu"] };
const SOFTWARE = /swiftshader|llvmpipe|software|basic render/i;

let slow = true; // whether WebGL is missing, or runs in software

/** Return the available backends: their titles, by their names in the libraries. */
export async function backendsOf() {
  const there = { wasm: typeof WebAssembly === "object", webgl: hasWebgl(), webgpu: await hasWebgpu() };
  return Object.fromEntries(Object.entries(NAMES).filter(([name]) => there[name]));
}

/** Return the default backend. */
export function usualBackend(format, available) {
  return format === "tfjs" && "webgl" in available && !slow ? "webgl" : "wasm";
}

/** Return the backends of a format's library. */
export function backendsFor(format) {
  return OF_FORMAT[format];
}

function hasWebgl() {
  const gl = new OffscreenCanvas(1, 1).getContext("webgl2");
  if (!gl) {
    return false;
  }
  const named = gl.getExtension("WEBGL_debug_renderer_info");
  slow = SOFTWARE.test(gl.getParameter(named ? named.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
  gl.getExtension("WEBGL_lose_context")?.loseContext(); // the number of contexts is limited
  return true;
}

async function hasWebgpu() {
  try {
    return Boolean(await navigator.gpu?.requestAdapter());
  } catch {
    return false;
  }
}
