// Which backends this browser has, and which suits a model.

const NAMES = { wasm: "WebAssembly", webgl: "WebGL", webgpu: "WebGPU" };
const OF_FORMAT = { tfjs: ["wasm", "webgl", "webgpu"], onnx: ["wasm", "webgpu"] };
const SOFTWARE = /swiftshader|llvmpipe|software|basic render/i;

let slow = true; // whether WebGL is there, but in software

/** Those there are: what each is called, by its name in the libraries. */
export async function backendsOf() {
  const there = { wasm: typeof WebAssembly === "object", webgl: hasWebgl(), webgpu: await hasWebgpu() };
  return Object.fromEntries(Object.entries(NAMES).filter(([name]) => there[name]));
}

/** The backend to begin with. */
export function usualBackend(format, available) {
  return format === "tfjs" && "webgl" in available && !slow ? "webgl" : "wasm";
}

/** The backends that a format's library has. */
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
  gl.getExtension("WEBGL_lose_context")?.loseContext(); // there are only so many at a time
  return true;
}

async function hasWebgpu() {
  try {
    return Boolean(await navigator.gpu?.requestAdapter());
  } catch {
    return false;
  }
}
