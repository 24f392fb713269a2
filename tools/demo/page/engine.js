// The page's side of worker.js: one model on one backend.

export class Engine {
  #worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  #waiting = new Map();
  #calls = 0;
  #closed = null;

  /** Called once when the graphics context is lost. The engine cannot be used afterwards. */
  onLost = () => {};

  /** Facts about the backend: `{threads, draws}`. `draws` tells whether it returns pictures. */
  about = {};

  /** Load a model. `threads` are those of WebAssembly; null for as many as its library takes by itself. */
  static async start(model, backend, threads = null) {
    const engine = new Engine();
    try {
      engine.about = await engine.#call("start", model, backend, threads);
      return engine;
    } catch (error) {
      engine.close();
      throw error;
    }
  }

  constructor() {
    this.#worker.onmessage = ({ data: { id, event, result, error } }) => {
      if (event === "lost") {
        this.close();
        this.onLost();
        return;
      }
      const { resolve, reject } = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) {
        resolve(result);
      } else {
        reject(new EngineError(error));
      }
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.close(new EngineError(event.message ?? "its script could not be loaded"));
    };
  }

  /**
   * Matte one frame, ImageData or an ImageBitmap. Return `pixels` (RGBA: foreground, not premultiplied, and alpha),
   * `width`, `height`, `milliseconds`, `states` (images, if `withStates`), and `memory`, or null if the library does not
   * report it. With `asPicture`, return instead of the pixels a `picture`: the cut-out as an ImageBitmap.
   */
  matte(frame, ratio, options) {
    return this.#call("matte", frame, ratio, options);
  }

  /** Reset the recurrent states. */
  reset() {
    return this.#call("reset");
  }

  /** Free all memory. Requests in progress fail with `reason`. */
  close(reason = new Closed()) {
    this.#worker.terminate();
    this.#closed ??= reason;
    this.#waiting.forEach(({ reject }) => reject(reason));
    this.#waiting.clear();
  }

  #call(call, ...given) {
    if (this.#closed) {
      return Promise.reject(this.#closed);
    }
    const id = this.#calls++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, call, given });
    });
  }
}

/** The engine was closed on purpose. */
export class Closed extends Error {}

/** The model or its backend failed. */
export class EngineError extends Error {
  constructor(said) {
    const [, hint] = HINTS.find(([pattern]) => pattern.test(said));
    super(hint ? `${hint} (${said})` : said);
  }
}

const HINTS = [
  [/memory|allocat|too large|texture size|range/i, "This needs more memory than the browser gives. Choose a smaller resolution, a smaller ratio, or a smaller file."],
  [/ceil/i, "This file has a pool that onnxruntime-web's WebGPU does not run. Choose wasm, or export with --profile webgpu."],
  [/fetch|network|status.{0,6}40\d/i, "The model could not be loaded. Is rvm-export demo still running?"],
  [/^/, ""],
];
