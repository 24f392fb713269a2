"""Weights from a file, a download or a seed, verified before use."""
