"""A clip's mattes by a CoreML file, on a Mac: to be copied into a program."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np


def mattes(model: Any, frames: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Foreground and alpha of each frame: PIL images of the file's size, or arrays where it has tensors.

    Of a file of coefficients, A and b of each frame of the internal size.
    """
    description = model.get_spec().description
    inputs = {each.name: each.type.multiArrayType.shape for each in description.input if each.name != "src"}
    states = {name: np.zeros(tuple(shape), np.float32) for name, shape in inputs.items()}
    kept = {"state": model.make_state()} if not states else {}  # a stateful file has them inside
    for frame in frames:
        outputs = model.predict({"src": frame, **states}, **kept)
        yield (outputs["A"], outputs["b"]) if "A" in outputs else (outputs["fgr"], outputs["pha"])
        states = {name: outputs[name.replace("i", "o")] for name in states}
