"""ExecuTorch programs, .pte: for one size each, the whole network in one piece for XNNPACK."""

from dataclasses import dataclass
from pathlib import Path

from exporters.format import Format, RuntimeInfo
from exporters.spec import FixableSpec, SpecError
from exporters.support.whole_sizes import refuse_fractions
from rvm_model.files import open_file

MAGIC = b"ET12"
"""The file identifier of the flatbuffer, at byte 4."""

METADATA = "rvm_export"
"""The key of the named data that holds ours, as JSON."""

BESIDE = "pip install --no-deps executorch==1.5.1"
"""Installs ExecuTorch without the packages that it asks for and that nothing here imports."""


@dataclass(frozen=True, kw_only=True)
class ExecutorchSpec(FixableSpec):
    """One ExecuTorch program, for one size."""

    def __post_init__(self) -> None:
        if self.fixed is None:
            raise SpecError(
                "an ExecuTorch file is for one size; give --resolution, such as 1280x720, and --downsample-ratio"
            )
        if self.fixed.batch != 1:
            raise SpecError(f"ExecuTorch files take one frame at a time, not {self.fixed.batch}; leave --batch out")
        refuse_fractions(self.fixed, "ExecuTorch")


def recognise(path: Path) -> bool:
    """Return True if it has the identifier of ExecuTorch's flatbuffers."""
    if path.is_dir():
        return False
    with open_file(path) as file:
        return file.read(8)[4:] == MAGIC


FORMAT = Format(
    title="ExecuTorch",
    help="Export ExecuTorch programs: for one size.",
    suffix=".pte",
    precisions=("fp32", "fp16"),
    values={"fp32": "float32", "fp16": "float16"},
    ratio_dtype="float64",  # a quotient of whole sizes
    extra="executorch",
    packages=("executorch", "torchao", "ruamel"),
    afterwards=BESIDE,
    runtimes={
        "executorch": RuntimeInfo(
            module="runtime", extra="executorch", packages=("executorch", "torchao", "ruamel"), afterwards=BESIDE
        )
    },
    not_run=("Android", "iOS", "ARM"),
    recognise=recognise,
    spec=ExecutorchSpec,
    one_size=True,
    call="module.forward({src, r1, r2, r3, r4})",
)
