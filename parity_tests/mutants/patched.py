"""Defects of int8 files: change a number in a good file."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from exporters.onnx.load import graph_sha256
from parity_tests.mutants.mutant import OfFile, Subject

MODEL = "model.json"


@dataclass(frozen=True)
class PatchedOnnx(OfFile):
    """A file in which `change` is applied to the initializer `name`."""

    name: str
    change: Callable[[NDArray[Any]], NDArray[Any]]

    def write(self, subject: Subject, path: Path) -> None:
        """Write the file with a valid checksum of its graph. Raise ValueError if nothing changes. See `Defect`."""
        model = onnx.load(subject.good)
        (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == self.name)
        before = numpy_helper.to_array(tensor)
        after = self.change(before.copy()).astype(before.dtype)
        if (before == after).all():
            raise ValueError(f"{self.name} is as it was")
        tensor.CopyFrom(numpy_helper.from_array(after, self.name))
        (checksum,) = (entry for entry in model.metadata_props if entry.key == "graph_sha256")
        checksum.value = graph_sha256(model)
        path.write_bytes(model.SerializeToString())


@dataclass(frozen=True)
class PatchedTfjs(OfFile):
    """A file with one kernel's step times `scale` and its zero moved by `shift` steps. `rank` 0: the largest."""

    rank: int
    scale: float = 1.0
    shift: float = 0.0

    def write(self, subject: Subject, path: Path) -> None:
        """See `Defect`."""
        with zipfile.ZipFile(subject.good) as good, zipfile.ZipFile(path, "w") as wrong:
            for name in good.namelist():
                content = good.read(name)
                wrong.writestr(name, self._patched(content) if name.endswith(MODEL) else content)

    def _patched(self, content: bytes) -> bytes:
        model = json.loads(content)
        (manifest,) = model["weightsManifest"]
        in_eight_bits = [
            entry for entry in manifest["weights"] if entry.get("quantization", {}).get("dtype") == "uint8"
        ]
        entry = sorted(in_eight_bits, key=lambda entry: -int(np.prod(entry["shape"])))[self.rank]
        quantization = entry["quantization"]
        quantization["min"] = (quantization["min"] + self.shift * quantization["scale"]) * self.scale
        quantization["scale"] *= self.scale
        return json.dumps(model, separators=(",", ":")).encode()
