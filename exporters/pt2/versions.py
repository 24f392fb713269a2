"""Check that the installed torch reads and writes the layout of the files: the one since torch 2.9."""

import torch

from exporters.format import MissingPackage

OLDEST = (2, 9)


def check_torch() -> None:
    """Raise MissingPackage if torch is too old to write and run .pt2 files."""
    if tuple(map(int, torch.__version__.split(".")[:2])) < OLDEST:
        raise MissingPackage(
            f".pt2 files need torch 2.9 or later, and {torch.__version__} is installed; run: "
            "pip install 'rvm-export[pt2]'"
        )
