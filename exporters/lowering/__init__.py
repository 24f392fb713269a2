"""The network lowered for inference: a vocabulary, the network written in it once, and its weights folded."""
