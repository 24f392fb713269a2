"""The network lowered for inference: a vocabulary, a program written in it, and folded weights."""
