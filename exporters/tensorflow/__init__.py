"""TensorFlow SavedModel, written from the lowered program."""

import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from exporters.spec import FixableSpec, Format, RuntimeInfo

METADATA = "assets.extra/rvm_export.json"
"""Where a SavedModel says what it is; the folder is the format's own place for what others put into it."""


@dataclass(frozen=True, kw_only=True)
class TensorflowSpec(FixableSpec):
    """One SavedModel."""

    folder: bool = field(default=False, metadata={"help": "Write a folder instead of a zip file."})

    def words(self) -> list[str]:
        return [*super().words(), "tf"]

    def file_name(self, suffix: str, seeded: bool) -> str:
        """As the released file is called, without a precision: there is one only."""
        name = super().file_name("", seeded).replace(f"_{self.precision}", "")
        return name if self.folder else name + suffix


def recognise(path: Path) -> bool:
    """A folder with `saved_model.pb`, or a zip file that holds one, at its root or in its only folder."""
    if path.is_dir():
        return (path / "saved_model.pb").is_file()
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):  # the last two from flipped bits in its directory
        return False
    return any(name.split("/")[-1] == "saved_model.pb" and name.count("/") <= 1 for name in names)


FORMAT = Format(
    title="TensorFlow",
    help="Export a TensorFlow SavedModel: for any batch, size and downsample ratio, or for one.",
    suffix=".zip",
    precisions=("fp32",),
    extra="tensorflow",
    packages=("tensorflow",),
    runtimes={"tensorflow": RuntimeInfo(module="runtime", extra="tensorflow", packages=("tensorflow",))},
    recognise=recognise,
    spec=TensorflowSpec,
)
