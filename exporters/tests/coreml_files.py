"""CoreML files of seeded weights, for tests. A conversion takes seconds: make few files, and small ones."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from exporters import FORMATS, load_exporter
from exporters.coreml import CoremlSpec
from exporters.coreml.evaluator.evaluator import load_program
from exporters.coreml.package import read_package
from exporters.spec import Fixed
from rvm_model import load_checkpoint

SIZE, OTHER = Fixed(width=96, height=64, ratio=0.5), Fixed(width=64, height=128, ratio=0.25)


def spec_of(**options: Any) -> CoremlSpec:
    defaults = {"variant": "mobilenetv3", "refiner": "deep_guided_filter", "precision": "fp16", "fixed": SIZE}
    return CoremlSpec(**defaults | options)


def export(folder: Path, **options: Any) -> Path:
    spec = spec_of(**options)
    path = folder / spec.file_name(spec.suffix(FORMATS["coreml"].suffix), seeded=True)
    load_exporter("coreml").export(load_checkpoint("seeded", spec.variant, spec.refiner), spec, path)
    return path


class StandIn:
    """A stand-in for coremltools' `MLModel` on a Mac, on top of the evaluator.

    It takes and returns pictures, and keeps states by the same methods.
    """

    def __init__(self, path, function=None):
        self.path, self.program = path, load_program(path, function)

    def get_spec(self):
        return read_package(self.path).model

    def make_state(self):
        state = self.program.new_state()
        state_class = type("MLState", (), {"read_state": lambda _, name: state.to_numpy()[name], "held": state})
        return state_class()

    def predict(self, data, state=None):
        given = {name: np.asarray(each) for name, each in data.items()}
        outputs = self.program.run(given, state and state.held)
        return {name: Image.fromarray(each) if each.dtype == np.uint8 else each for name, each in outputs.items()}
