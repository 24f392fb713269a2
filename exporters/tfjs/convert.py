"""The tensorflowjs converter in a process of its own, run as `python -m exporters.tfjs.convert SAVED_MODEL FOLDER`.

Its package imports Keras, JAX and Flax for models of other kinds before it can do anything, and its SavedModel module
imports two more that only some SavedModels need. None of them is installed. So the package and its sub-package are
entered here without their own `__init__`, and the two are empty modules; nothing else sees that but this process.
"""

import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from exporters.format import MissingPackage
from exporters.support.fresh_process import run_module
from exporters.tensorflow.saved_model import ENVIRONMENT
from exporters.tfjs import CONVERTER, FORMAT

_UNUSED = ("tensorflow_decision_forests", "tensorflow_hub")


def convert(saved_model: Path, folder: Path) -> None:
    """Make `folder`, a graph model with float32 weights, as the converter leaves it.

    Raises:
        MissingPackage: the converter is of another release; what it writes was not looked at.
        ArtifactError: it gave up; its last line says why.
    """
    installed = version("tensorflowjs")
    if installed != CONVERTER:
        raise MissingPackage(f"tfjs needs tensorflowjs {CONVERTER}, not {installed}; run: {FORMAT.afterwards}")
    run_module(
        "exporters.tfjs.convert", saved_model, folder, failure="tensorflowjs could not convert", environment=ENVIRONMENT
    )


def main(saved_model: str, folder: str) -> None:
    """In the process of its own."""
    found = find_spec("tensorflowjs")
    assert found is not None
    assert found.submodule_search_locations is not None
    (home,) = found.submodule_search_locations
    for name, path in (("tensorflowjs", home), ("tensorflowjs.converters", f"{home}/converters")):
        package = sys.modules[name] = ModuleType(name)
        package.__path__ = [path]
    for name in _UNUSED:
        sys.modules[name] = ModuleType(name)

    from tensorflowjs.converters import tf_saved_model_conversion_v2 as converter

    converter.convert_tf_saved_model(saved_model, folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
