"""Play an ONNX file the way that other programs do, and say whether it fits them."""
