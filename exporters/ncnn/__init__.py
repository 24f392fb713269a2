"""ncnn models: a graph as text and its weights, in a folder or a zip file, written from the lowered program."""

from dataclasses import dataclass, field
from pathlib import Path

from exporters.format import Format, RuntimeInfo
from exporters.ncnn.contract import CONTRACTS
from exporters.spec import BakedSpec, SpecError
from exporters.support.archive import holds

GRAPH, WEIGHTS = "model.ncnn.param", "model.ncnn.bin"
"""The names that ncnn's own converter gives to the two files."""

METADATA = "rvm_export.json"
"""The file of the metadata: the format itself has no place for any, and ncnn reads no comments."""


@dataclass(frozen=True, kw_only=True)
class NcnnSpec(BakedSpec):
    """One ncnn model: for one size, or for any size at one ratio."""

    zip: bool = field(default=False, metadata={"help": "Write one zip file instead of a folder."})
    contract: str = field(
        default="",
        metadata={
            "help": "nihui or feige: names, second source and outputs of the Android apps nihui/ncnn-android-rvm and "
            "FeiGeChuanShu/ncnn_Android_RobustVideoMatting."
        },
    )

    def __post_init__(self) -> None:
        if self.contract:
            self._check_contract()
        elif self.fixed is None and self.ratio is None:
            raise SpecError(
                "an ncnn file has its ratio baked in; give --downsample-ratio, such as 0.25, and --resolution too for "
                "a file of one size"
            )
        if self.fixed is not None and self.fixed.batch != 1:
            raise SpecError(f"ncnn files take one frame at a time, not {self.fixed.batch}; leave --batch out")

    def _check_contract(self) -> None:
        if self.contract not in CONTRACTS:
            raise SpecError(f"contract {self.contract!r} is not nihui or feige; leave --contract out for our own names")
        sizes = CONTRACTS[self.contract].sizes
        if sizes and (self.fixed not in sizes or self.variant != "mobilenetv3"):
            listed = " or ".join(f"--resolution {each.width}x{each.height}" for each in sizes)
            raise SpecError(
                f"{self.contract}'s app takes MobileNetV3 of two sizes; give {listed}, and --downsample-ratio 0.5"
            )
        if not sizes and (self.fixed, self.ratio, self.refiner) != (None, None, "deep_guided_filter"):
            raise SpecError(
                f"{self.contract}'s app reduces frames of any size itself, and reads the deep guided filter; leave "
                "--resolution, --downsample-ratio and --refiner out"
            )

    def words(self) -> list[str]:
        return [*super().words(), *([self.contract] if self.contract else [])]

    def suffix(self, usual: str) -> str:
        return f"{usual}.zip" if self.zip else usual

    @property
    def is_folder(self) -> bool:
        return not self.zip


def recognise(path: Path) -> bool:
    """Return True if it has a graph of ncnn's, whatever its content: `inspect` reports what is wrong with it."""
    return holds(path, GRAPH)


FORMAT = Format(
    title="ncnn",
    help="Export ncnn: for any size at one downsample ratio, or for one size.",
    suffix=".ncnn",
    other_suffixes=(".zip",),
    precisions=("fp32", "fp16"),
    values={"fp32": "float32", "fp16": "float32"},
    extra="ncnn",
    packages=("ncnn",),
    runtimes={"ncnn": RuntimeInfo(module="runtime", extra="ncnn", packages=("ncnn",))},
    not_run=("ARM", "Vulkan"),
    recognise=recognise,
    spec=NcnnSpec,
    one_size=True,
    call="extractor.input(name, mat), extractor.extract(name, mat)",
)
