"""Time files against PyTorch.

Contenders take turns, each in its own process, and their outputs are compared as well.
"""
