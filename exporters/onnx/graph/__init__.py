"""Build ONNX graphs: the vocabulary, files of one size, eight bits, simplification."""
