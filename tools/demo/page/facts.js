// A model's facts, for people.

const FORMATS = { tfjs: "TensorFlow.js", onnx: "ONNX" };
const VARIANTS = { mobilenetv3: "MobileNetV3", resnet50: "ResNet50" };

/** Return the names and values of the known facts. */
export function factsOf({ format, variant, refiner, precision, bytes, fixed, facts, metadata }) {
  return Object.entries({
    Format: FORMATS[format],
    Encoder: VARIANTS[variant],
    Refiner: refiner.replaceAll("_", " "),
    Precision: precision,
    Download: megabytes(bytes),
    Parameters: facts.parameters?.toLocaleString("en"),
    "Made for": fixed ? `${fixed.width} × ${fixed.height}, ratio ${fixed.ratio}` : "any size and ratio",
    Opset: facts.opset,
    Nodes: facts.nodes,
    Weights: metadata.checkpoint && `${metadata.checkpoint}, ${metadata.weights_sha256?.slice(0, 12)}`,
    "Made by": metadata.producer ?? "another program",
    Licence: metadata.licence,
  }).filter(([, value]) => value !== undefined);
}

export function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}
