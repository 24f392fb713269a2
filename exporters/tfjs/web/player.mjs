// A graph model that answers one request after the other, in whatever has TensorFlow.js: Node or a page.

/**
 * Load a model on one backend, and give what runs a frame: outputs' names and tensors to tensors, all float32.
 * `source` is what tf.loadGraphModel takes; `method` is "execute", or "executeAsync" where the model has control flow.
 * Throws where another backend would run, and where a frame leaves tensors behind.
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

/** The released model calls its input r1i by the key "r1i:0". */
function keyOf(side, name) {
  return name in side ? name : `${name}:0`;
}
