"""The parity harness: it runs a clip through PyTorch and an exported file, and gives a verdict. The tests use it."""
