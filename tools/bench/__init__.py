"""Time files beside PyTorch: contenders in turn, a process each, compared as they are timed."""
