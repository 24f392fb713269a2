"""The parity harness: a clip through PyTorch and through an exported file, and a verdict. The tests run it."""
