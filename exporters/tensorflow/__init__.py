"""TensorFlow SavedModels, written from the lowered program."""

from dataclasses import dataclass, field
from pathlib import Path

from exporters.format import Format, RuntimeInfo
from exporters.spec import FixableSpec
from exporters.support.archive import holds

GRAPH = "saved_model.pb"
METADATA = "assets.extra/rvm_export.json"
"""The path of a SavedModel's metadata. The format reserves this folder for files of other tools."""


@dataclass(frozen=True, kw_only=True)
class TensorflowSpec(FixableSpec):
    """One SavedModel."""

    folder: bool = field(
        default=False, metadata={"help": "Write a folder instead of a zip file; --output is its path."}
    )

    def words(self) -> list[str]:
        return [*super().words(), "tf"]

    def file_name(self, suffix: str, seeded: bool) -> str:
        """Return the released file's name without a precision, since there is only one."""
        return super().file_name(suffix, seeded).replace(f"_{self.precision}", "")

    def suffix(self, usual: str) -> str:
        return "" if self.folder else usual

    @property
    def is_folder(self) -> bool:
        return self.folder


def recognise(path: Path) -> bool:
    """Return True for a folder with a graph in it, or a zip file with such a folder."""
    return holds(path, GRAPH)


FORMAT = Format(
    title="TensorFlow",
    help="Export a TensorFlow SavedModel: for any batch, size and downsample ratio, or for one.",
    suffix=".zip",
    precisions=("fp32",),
    values={"fp32": "float32"},
    extra="tensorflow",
    packages=("tensorflow",),
    runtimes={"tensorflow": RuntimeInfo(module="runtime", extra="tensorflow", packages=("tensorflow",))},
    not_run=("GPU",),
    recognise=recognise,
    spec=TensorflowSpec,
    call="model([src, r1, r2, r3, r4, downsample_ratio])",
    first_states="a zero of any rank",
)
