"""CoreML: ML programs in packages, neural networks for older devices, converted from the traced network."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Self

from exporters.format import Format, RuntimeInfo
from exporters.spec import COEFFICIENTS, FixableSpec, Fixed, SpecError
from exporters.support.archive import holds
from exporters.support.whole_sizes import refuse_fractions
from rvm_model.files import open_file

MANIFEST = "Manifest.json"
TARGETS = ("ios14", "ios16", "ios18")

_LEAST_KIND = 200
"""The lowest field number of CoreML's kinds of model. The field numbers of an ONNX file are all below."""

_VERSION = b"\x08"  # field 1, a number
_MOST_FIELDS = 1000


@dataclass(frozen=True, kw_only=True)
class CoremlSpec(FixableSpec):
    """One package, for one size or with a function for each of several sizes; or one neural network for iOS 14."""

    target: str = field(
        default="",
        metadata={
            "help": "ios14 (neural network, .mlmodel), ios16 or ios18 (ML program). Default: ios16, or ios18 with "
            "--stateful or --multifunction."
        },
    )
    stateful: bool = field(
        default=False, metadata={"help": "Keep the states in the model: input src, outputs fgr and pha."}
    )
    multifunction: bool = field(default=False, metadata={"help": "Write one package with a function for each size."})
    tensor_io: bool = field(default=False, metadata={"help": "Use tensors in [0, 1] for src, fgr and pha, not images."})
    preprocess_fp32: bool = field(
        default=False, metadata={"help": "Compute in fp32 up to the first convolution: more precise, same size."}
    )
    outputs: str = field(
        default="fgr,pha",
        metadata={
            "help": "Outputs besides the states: fgr,pha. Or coefficients: tensors; src is the frame at internal size, "
            "and A and b give the matte at full size as A * x + b, which a Metal kernel computes."
        },
    )
    zip: bool = field(default=False, metadata={"help": "Write the package as a zip file."})
    others: tuple[Fixed, ...] = ()

    def __post_init__(self) -> None:
        if self.fixed is None:
            raise SpecError(
                "a CoreML file is for one size; give --resolution, such as 1280x720, and --downsample-ratio"
            )
        if self.target not in ("", *TARGETS):
            raise SpecError(f"target {self.target!r} is not one of {', '.join(TARGETS)}")
        for option, given in (("--stateful", self.stateful), ("--multifunction", self.multifunction)):
            if given and self.system != "ios18":
                raise SpecError(f"{option} needs iOS 18; give --target ios18, or none")
        if self.stateful and self.precision == "fp32":
            raise SpecError("CoreML holds states in fp16 only; give --precision fp16 or int8, or leave --stateful out")
        if self.preprocess_fp32 and (self.precision == "fp32" or self.is_neural_network):
            what = "of precision fp32" if self.precision == "fp32" else "for iOS 14"
            raise SpecError(f"a file {what} computes in fp32 throughout; leave --preprocess-fp32 out")
        if self.zip and self.is_neural_network:
            raise SpecError("for iOS 14 it is one file, not a package; leave --zip out")
        if self.outputs not in ("fgr,pha", COEFFICIENTS):
            raise SpecError(f"outputs {self.outputs!r}: give fgr,pha or coefficients; the states always stay")
        for option, given in (("--tensor-io", self.tensor_io), ("--multifunction", self.multifunction)):
            if given and self.gives_line:
                raise SpecError(
                    f"a file of coefficients has tensors, at one internal size; leave {option} or --outputs out"
                )
        for size in self.sizes:
            if size.batch != 1:
                raise SpecError(f"CoreML files take one frame at a time, not {size.batch}; leave --batch out")
            if not self.gives_line:  # its source is not resized inside
                refuse_fractions(size, "CoreML")

    @classmethod
    def together(cls, specs: Sequence[Self]) -> list[Self]:
        if not specs[0].multifunction:
            return [*specs]
        if len(specs) == 1:
            raise SpecError("--multifunction is for several sizes; give more than one --resolution, or leave it out")
        sizes = [size for spec in specs for size in spec.sizes]
        if len({*sizes}) < len(sizes):
            raise SpecError("--multifunction: one size is given twice; leave one out")
        return [replace(specs[0], others=tuple(sizes[1:]))]

    @property
    def sizes(self) -> tuple[Fixed, ...]:
        """Return all sizes. The first is the package's default function."""
        assert self.fixed is not None
        return (self.fixed, *self.others)

    @property
    def gives_line(self) -> bool:
        """Return True for a file of coefficients, see `Artifact.gives_line`."""
        return self.outputs == COEFFICIENTS

    @property
    def has_tensors(self) -> bool:
        """Return True if its source and outputs are tensors, not images."""
        return self.tensor_io or self.gives_line

    @property
    def system(self) -> str:
        """Return the target, or its default if none was set."""
        return self.target or ("ios18" if self.stateful or self.multifunction else "ios16")

    @property
    def is_neural_network(self) -> bool:
        return self.system == "ios14"

    @property
    def is_folder(self) -> bool:
        return not self.zip and not self.is_neural_network

    def suffix(self, usual: str) -> str:
        return ".mlmodel" if self.is_neural_network else f"{usual}.zip" if self.zip else usual

    def words(self) -> list[str]:
        sizes = [word for size in self.sizes for word in (f"{size.width}x{size.height}", f"s{size.ratio:g}")]
        tells_itself = self.stateful or self.multifunction or self.is_neural_network
        return [
            *sizes,
            *([self.system] if self.system == "ios18" and not tells_itself else []),
            *(["tensors"] if self.tensor_io else []),
            *([self.outputs] if self.gives_line else []),
            *(["pre32"] if self.preprocess_fp32 else []),
        ]

    def file_name(self, suffix: str, seeded: bool) -> str:
        """Return the name of the released files; a stateful file adds that word after the precision."""
        name = super().file_name(suffix, seeded)
        return name.replace(f"_{self.precision}", f"_{self.precision}_stateful") if self.stateful else name


def function_name(size: Fixed) -> str:
    """Return the name of a size's function, in a package of several sizes."""
    return f"rvm_{size.width}x{size.height}_s{size.ratio:g}".replace(".", "_")


def recognise(path: Path) -> bool:
    """Return True for a package, zipped or not, with a manifest, or for a neural network.

    A neural network is a protobuf message with a field of one of CoreML's kinds of model.
    """
    if path.is_dir() or holds(path, MANIFEST):
        return holds(path, MANIFEST)
    with open_file(path) as file:
        return any(number >= _LEAST_KIND for number in _messages(file))


def _messages(file: BinaryIO) -> Iterator[int]:
    """Yield the field numbers of the submessages in a protobuf message that begins with a version, as a model does.

    It stops at the first bytes that are no field. It does not read the submessages, so a truncated model counts too.
    """
    end = file.seek(0, 2)
    file.seek(0)
    if file.read(1) != _VERSION:
        return
    file.seek(0)
    for _ in range(_MOST_FIELDS):  # a model has a dozen; a hostile file can have one in two bytes
        if file.tell() >= end:
            return
        tag = _varint(file)
        number, kind = tag >> 3, tag & 7
        if kind == 0 and number:
            _varint(file)
        elif kind == 2 and number:
            length = _varint(file)
            yield number
            file.seek(length, 1)
        else:
            return


def _varint(file: BinaryIO) -> int:
    """Read the next number. Return 0 for one that never ends."""
    value = 0
    for shift in range(0, 64, 7):
        (byte,) = file.read(1) or b"\0"
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
    return 0


_RUNTIMES = {
    name: RuntimeInfo(
        module=f"runtime_{module}",
        options=options,
        extra="coreml",
        packages=("coremltools",),
        is_device=module != "evaluator",
    )
    for name, module, options in (
        ("evaluator", "evaluator", {}),
        ("evaluator-fp16", "evaluator", {"half": True}),
        ("coreml", "apple", {"unit": "ALL"}),
        ("coreml-cpu", "apple", {"unit": "CPU_ONLY"}),
        ("coreml-gpu", "apple", {"unit": "CPU_AND_GPU"}),
        ("coreml-ne", "apple", {"unit": "CPU_AND_NE"}),
    )
}
"""The runtimes. The evaluator runs anywhere and is first; on a Mac, `FORMAT` puts CoreML itself first."""

FORMAT = Format(
    title="CoreML",
    help="Export CoreML: an ML program or a neural network, for one size.",
    suffix=".mlpackage",
    other_suffixes=(".mlmodel", ".zip"),
    precisions=("fp16", "fp32", "int8"),
    values={"fp16": "float16", "fp32": "float32", "int8": "float16"},
    ratio_dtype="float64",  # a quotient of whole sizes
    extra="coreml",
    packages=("coremltools",),
    runtimes={"coreml": _RUNTIMES["coreml"]} | _RUNTIMES if sys.platform == "darwin" else _RUNTIMES,
    not_run=tuple(each for each in _RUNTIMES if each.startswith("coreml")),
    recognise=recognise,
    spec=CoremlSpec,
    one_size=True,
    call="model.prediction(from: inputs)",
)
