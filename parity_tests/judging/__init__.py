"""Errors of a file against PyTorch, limits in units of PyTorch's own rounding, and the verdict."""
