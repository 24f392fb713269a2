"""The installed torch: check that it has the layout of the files, the one since torch 2.9, and keep it quiet."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def quiet_torch() -> Iterator[None]:
    """Silence torch.export: it logs a traceback before it raises, and torch 2.9 warns of what it does itself."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        logging.disable(before)
