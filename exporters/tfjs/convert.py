"""Run the tensorflowjs converter in a separate process: `python -m exporters.tfjs.convert SAVED_MODEL FOLDER`.

Its package first imports Keras, JAX and Flax, which only models of other kinds need. Its SavedModel module imports two
more that only some SavedModels need. None of them is installed. So this process creates the package and its sub-package
without running their `__init__`, and the two others as empty modules. No other process is affected.
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
    """Write `folder`, a graph model with float32 weights, as the converter leaves it.

    Raises:
        MissingPackage: the converter has another version, whose output was never checked.
        ArtifactError: the converter failed. The message ends with its last line.
    """
    installed = version("tensorflowjs")
    if installed != CONVERTER:
        raise MissingPackage(f"tfjs needs tensorflowjs {CONVERTER}, not {installed}; run: {FORMAT.afterwards}")
    run_module(
        "exporters.tfjs.convert", saved_model, folder, failure="tensorflowjs could not convert", environment=ENVIRONMENT
    )


def main(saved_model: str, folder: str) -> None:
    """Run the converter, in the separate process."""
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
