"""Load CoreML's protobuf messages without coremltools itself.

Importing coremltools takes seconds, and imports TensorFlow if that is installed. Its generated classes need neither.
"""

import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

_NAME = "_rvm_export_coreml_messages"


def protobuf_module(name: str) -> Any:
    """Return the generated module of one of CoreML's .proto files: `Model`, `MIL`, `NeuralNetwork`, `FeatureTypes`."""
    return getattr(_package(), f"{name}_pb2")


def _package() -> ModuleType:
    """Import `coremltools.proto` under another name, so that its parent package never runs."""
    if _NAME in sys.modules:
        return sys.modules[_NAME]
    parent = find_spec("coremltools")
    if parent is None or parent.origin is None:
        raise ModuleNotFoundError("No module named 'coremltools'", name="coremltools")
    folder = Path(parent.origin).parent / "proto"
    spec = spec_from_file_location(_NAME, folder / "__init__.py", submodule_search_locations=[str(folder)])
    assert spec is not None
    assert spec.loader is not None
    package = module_from_spec(spec)
    sys.modules[_NAME] = package
    spec.loader.exec_module(package)
    return package
