// Run one model on one backend, in its own thread, for engine.js. To change either, engine.js starts another worker.

const PLAYERS = { tfjs: "./tfjs.js", onnx: "./onnx.js" };
let player;

const CALLS = {
  async start(model, backend, threads) {
    const { open } = await import(PLAYERS[model.format]);
    player = await open(model, backend, () => postMessage({ event: "lost" }), threads);
    return { ...player.about, draws: Boolean(player.draw) };
  },

  async matte(frame, ratio, { withStates = false, asPicture = false } = {}) {
    const began = performance.now();
    const matte = asPicture ? { picture: await player.draw(frame, ratio) } : { pixels: await player.matte(frame, ratio) };
    const milliseconds = performance.now() - began;
    const { width, height } = frame;
    frame.close?.(); // an ImageBitmap
    const states = withStates ? (await player.states()).map(mosaic) : [];
    return { ...matte, width, height, milliseconds, states, memory: player.memory() };
  },

  async reset() {
    player.reset();
  },
};

/** Serialises the requests: a reset during a frame would free the tensors that the frame uses. */
let queue = Promise.resolve();
onmessage = ({ data }) => {
  queue = queue.then(() => answer(data));
};

async function answer({ id, call, given }) {
  try {
    const result = await CALLS[call](...given);
    const moved = [result?.picture, result?.pixels?.buffer, ...(result?.states ?? []).map(({ pixels }) => pixels.buffer)];
    postMessage({ id, result }, moved.filter(Boolean));
  } catch (error) {
    postMessage({ id, error: String(error?.message ?? error).split("\n")[0] });
  }
}

/** Return a state's channels side by side as one image: bluish below zero, dark at zero, orange above zero. */
function mosaic({ data, channels, height, width, strides: [c, y, x] }) {
  const columns = Math.ceil(Math.sqrt(channels));
  const rows = Math.ceil(channels / columns);
  const image = { width: columns * width, height: rows * height };
  const pixels = new Uint8ClampedArray(4 * image.width * image.height);
  for (let k = 0; k < channels; k++) {
    const [left, top] = [(k % columns) * width, Math.floor(k / columns) * height];
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        const value = Number(data[k * c + row * y + column * x]);
        const strength = Math.min(Math.abs(value), 1);
        const at = 4 * ((top + row) * image.width + left + column);
        pixels[at] = 18 + strength * (value > 0 ? 237 : 60);
        pixels[at + 1] = 20 + strength * (value > 0 ? 150 : 140);
        pixels[at + 2] = 26 + strength * (value > 0 ? 50 : 229);
        pixels[at + 3] = 255;
      }
    }
  }
  return { ...image, pixels, channels, size: `${width} × ${height}` };
}
