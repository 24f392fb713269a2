"""torch.export: the reference traced for one size, as a program of ATen operators that takes any batch."""

from dataclasses import dataclass
from pathlib import Path

from exporters.format import Format, RuntimeInfo
from exporters.spec import FixableSpec, SpecError
from rvm_model.zip_files import names_in_zip

BEFORE_2_9 = "serialized_exported_program.json"
"""The record of the program in archives of torch 2.7 and earlier."""


@dataclass(frozen=True, kw_only=True)
class Pt2Spec(FixableSpec):
    """One program, for one size."""

    def __post_init__(self) -> None:
        if self.fixed is None:
            raise SpecError("a .pt2 file is for one size; give --resolution, such as 1280x720, and --downsample-ratio")
        if self.fixed.batch != 1:
            raise SpecError(f"a .pt2 file takes any batch, also {self.fixed.batch}; leave --batch out")


def recognise(path: Path) -> bool:
    """Return True for a zip archive that says it is of torch.export, in its present layout or an older one."""
    if path.is_dir():
        return False
    return any(name == BEFORE_2_9 or name.endswith("/archive_format") for name in names_in_zip(path))


FORMAT = Format(
    title="torch.export",
    help="Export .pt2 by torch.export: a program of ATen operators, for one size and any batch.",
    suffix=".pt2",
    precisions=("fp32", "fp16"),
    values={"fp32": "float32", "fp16": "float16"},
    ratio_dtype="float64",
    extra="pt2",
    packages=("torch",),
    runtimes={"torch": RuntimeInfo(module="runtime", extra="pt2", packages=("torch",))},
    not_run=("CUDA", "AOTInductor", "C++"),
    recognise=recognise,
    spec=Pt2Spec,
    one_size=True,
    call="program.module()(src, r1i, r2i, r3i, r4i)",
    first_states="zeros of their shapes and of the batch of src",
)
