// Mattes of a clip by a TensorFlow.js graph model, without rvm.js. `tf` is TensorFlow.js with its backend set.

const OUTPUTS = ["fgr", "pha", "r1o", "r2o", "r3o", "r4o"];

/** Foreground and alpha of each frame, tensors (1, H, W, C) that are yours to dispose of. Frames are (H, W, 3) in [0, 1]. */
export async function* mattes(tf, model, frames, downsampleRatio = 0.25) {
  let states = [0, 0, 0, 0].map((value) => tf.scalar(value));
  for await (const frame of frames) {
    const [fgr, pha, ...after] = tf.tidy(() => {
      const [r1i, r2i, r3i, r4i] = states;
      const inputs = { src: frame.expandDims(0), r1i, r2i, r3i, r4i, downsample_ratio: tf.scalar(downsampleRatio) };
      return model.execute(inputs, OUTPUTS);
    });
    tf.dispose(states);
    states = after;
    yield { fgr, pha };
  }
  tf.dispose(states);
}
