// Run a graph model frame by frame, in Node or in a page.

/**
 * Load a model on one backend. Return a function that maps outputs' names and input tensors to tensors, all float32.
 * `source` is passed to tf.loadGraphModel. `method` is "execute", or "executeAsync" if the model has control flow.
 * Throws if another backend would run, and if a frame leaks tensors.
 */
export async function load(tf, backend, source, method) {
  if (!(await tf.setBackend(backend)) || tf.getBackend() !== backend) {
    throw new Error(`the backend ${backend} does not start, ${tf.getBackend() ?? "none"} would run`);
  }
  const model = await tf.loadGraphModel(source);
  const { inputs, outputs } = model.modelSignature;

  return async function run(wanted, feeds) {
    const before = tf.memory().numTensors;
    const given = Object.fromEntries(
      feeds.map(({ name, shape, data }) => [keyOf(inputs, name), tf.tensor(data, shape, "float32")]),
    );
    const results = await model[method](given, wanted.map((name) => keyOf(outputs, name)));
    const answers = await Promise.all(
      results.map(async (tensor, index) => ({
        name: wanted[index],
        dtype: tensor.dtype,
        shape: tensor.shape,
        data: await tensor.data(),
      })),
    );
    tf.dispose([Object.values(given), results]);
    const left = tf.memory().numTensors - before;
    if (left > 0) {
      throw new Error(`a frame leaves ${left} tensors behind`);
    }
    if (tf.getBackend() !== backend) {
      throw new Error(`${tf.getBackend()} ran it, not ${backend}`);
    }
    return answers;
  };
}

/** Return a tensor's key in the signature. The released model names its input r1i "r1i:0". */

function keyOf(side, name) {
  return name in side ? name : `${name}:0`;
}
