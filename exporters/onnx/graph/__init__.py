"""ONNX graphs as they are built: the vocabulary, files of one size, eight bits, simplification."""
