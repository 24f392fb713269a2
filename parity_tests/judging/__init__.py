"""How far a file may be from PyTorch: errors measured, limits in PyTorch's own rounding, and a verdict."""
