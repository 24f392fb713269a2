"""Write an ONNX file once more in onnxruntime's own format, `.ort`, for programs that read it alone."""

from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime as ort

from exporters.artifact import ArtifactError
from exporters.onnx.runtimes.session import ERRORS, session_options
from rvm_model.errors import first_line
from rvm_model.files import read_file


def write_ort(model: Path, path: Path) -> None:
    """Write `path`, which any onnxruntime of the same or a later version reads, on any processor.

    The graph is optimised to the level `extended`. The next one lays tensors out for this machine's processor, with
    operations that others do not have: elsewhere such a file does not load. onnxruntime does not write the same bytes
    twice.

    Raises ArtifactError if onnxruntime does not load the model.
    """
    options = session_options()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.add_session_config_entry("session.save_model_format", "ORT")
    with TemporaryDirectory() as desk:  # onnxruntime takes no path that is not UTF-8
        written = Path(desk) / "model.ort"
        options.optimized_model_filepath = str(written)
        try:
            ort.InferenceSession(read_file(model), options, providers=["CPUExecutionProvider"])
        except ERRORS as error:
            raise ArtifactError(f"{model} does not load in onnxruntime: {first_line(error)}") from error
        path.write_bytes(written.read_bytes())
