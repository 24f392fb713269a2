"""TorchScript: the reference itself, scripted."""

from pathlib import Path

from exporters.format import Format, RuntimeInfo
from exporters.spec import ExportSpec
from rvm_model.zip_files import names_in_zip


def recognise(path: Path) -> bool:
    """Return True for a zip archive with code in it; a checkpoint has none."""
    if path.is_dir():
        return False
    names = names_in_zip(path)
    return any(name.endswith("/constants.pkl") for name in names) and any("/code/" in name for name in names)


FORMAT = Format(
    title="TorchScript",
    help="Export TorchScript: called as the PyTorch model, NCHW or BTCHW.",
    suffix=".torchscript",
    precisions=("fp32", "fp16"),
    values={"fp32": "float32", "fp16": "float16"},
    ratio_dtype="float64",
    extra="torchscript",
    packages=("torch",),
    runtimes={"torch": RuntimeInfo(module="runtime", extra="torchscript", packages=("torch",))},
    not_run=("CUDA",),
    recognise=recognise,
    spec=ExportSpec,
    is_code=True,
    call="model(src, r1, r2, r3, r4, downsample_ratio)",
    first_states="None",
)
