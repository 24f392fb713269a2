"""Describe a TorchScript file without running it: from its code as text, and from its pickles without unpickling them.

The archive holds the module in `data.pkl` and the constants of its code in `constants.pkl`. Both are programs for a
stack machine. This follows only the opcodes that torch writes, calls nothing, and notes each tensor's dtype and shape.
"""

import pickletools
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exporters.artifact import INPUTS, OUTPUTS, Artifact, ArtifactError, TensorInfo
from exporters.support.identify import identify
from rvm_model.state import STATE_CHANNELS
from rvm_model.zip_files import find_damage

_PRECISIONS = {"float32": "fp32", "float16": "fp16"}
_ARGUMENTS = ("src", "r1", "r2", "r3", "r4", "downsample_ratio")
_MOST_BYTES = 4_000_000
"""The limit of a record that is read here. The largest of this network's has 200,000."""

_DTYPES = {
    "torch DoubleStorage": "float64",
    "torch FloatStorage": "float32",
    "torch HalfStorage": "float16",
    "torch BFloat16Storage": "bfloat16",
}
_TENSOR = "torch._utils _rebuild_tensor_v2"

_LITERALS = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "GLOBAL")
_CONSTANTS: Mapping[str, Any] = {
    **dict.fromkeys(("NONE", "NEWTRUE", "NEWFALSE", "EMPTY_DICT", "EMPTY_LIST")),
    "EMPTY_TUPLE": (),
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_FILLS = ("APPENDS", "SETITEMS")
_DROPS = ("APPEND", "BUILD")
_PUTS = ("BINPUT", "LONG_BINPUT")
_GETS = ("BINGET", "LONG_BINGET")
_MARK = object()


def inspect(path: Path) -> Artifact:
    """Describe the file without running it. See `exporters.runtime.Runtime`."""
    damage = find_damage(path)
    if damage:
        raise ArtifactError(f"{path} {damage}")
    try:
        with zipfile.ZipFile(path) as archive:
            root = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")
            own, class_name = _tensors(_read(path, archive, f"{root}data.pkl"))
            constants, _ = _tensors(_read(path, archive, f"{root}constants.pkl"))
            module, _, name = class_name.partition(" ")
            code = _read(path, archive, f"{root}code/{module.replace('.', '/')}.py").decode(errors="replace")
            metadata = _metadata(path, archive)
    # ValueError and the two after it are what a pickle raises that torch has not written.
    except (OSError, ValueError, IndexError, KeyError, StopIteration, TypeError) as error:
        raise ArtifactError(f"{path} does not load as TorchScript: {error or 'a record is missing'}") from error
    weights = [*own, *constants] if _arguments(code, name)[: len(_ARGUMENTS)] == [*_ARGUMENTS] else []
    found = identify({shape for _, shape in weights})
    if found is None:
        raise ArtifactError(f"{path} is TorchScript, but not a matting network as rvm-export and RVM v1.0.0 write it")
    dtypes = {dtype for dtype, shape in weights if len(shape) == 4 and dtype}
    if len(dtypes) != 1 or not dtypes <= _PRECISIONS.keys():
        raise ArtifactError(f"{path} has weights of {', '.join(sorted(dtypes))}; known are float32 and float16")
    variant, refiner = found
    (dtype,) = dtypes
    inputs, outputs = _contract(variant, dtype)
    return Artifact(
        path=path,
        format="torchscript",
        variant=variant,
        refiner=refiner,
        precision=_PRECISIONS[dtype],
        refine="auto",
        fixed=None,
        inputs=inputs,
        outputs=outputs,
        metadata=metadata,
        facts={"frozen": "no" if own else "yes"},
    )


def _read(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    size = archive.getinfo(name).file_size
    if size > _MOST_BYTES:
        raise ArtifactError(f"{path} is refused: its {name[:100]!r} has {size} bytes, which no matting network has")
    return archive.read(name)


def _tensors(pickled: bytes) -> tuple[list[tuple[str, tuple[int, ...]]], str]:
    """Return dtype and shape of each tensor in a pickle, and the class of its first object. The dtype may be empty.

    Raises ValueError, IndexError, KeyError or TypeError for a pickle that torch has not written.
    """
    tensors: list[tuple[str, tuple[int, ...]]] = []
    class_name = ""
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def since_mark() -> tuple[Any, ...]:
        values = []
        while (value := stack.pop()) is not _MARK:
            values.append(value)
        return tuple(reversed(values))

    argument: Any
    for opcode, argument, _ in pickletools.genops(pickled):
        match opcode.name:
            case "PROTO" | "STOP":
                pass
            case "MARK":
                stack.append(_MARK)
            case name if name in _LITERALS:
                stack.append(argument)
            case name if name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            case name if name in _TUPLES:
                stack[-_TUPLES[name] :] = [tuple(stack[-_TUPLES[name] :])]
            case "TUPLE":
                stack.append(since_mark())
            case name if name in _FILLS:
                since_mark()
            case name if name in _DROPS:
                stack.pop()
            case name if name in _PUTS:
                memo[argument] = stack[-1]
            case name if name in _GETS:
                stack.append(memo[argument])
            case "BINPERSID":
                _, storage, *_ = stack.pop()
                stack.append(_DTYPES.get(_text(storage), ""))
            case "NEWOBJ":
                stack.pop()
                class_name = class_name or _text(stack.pop())
                stack.append(None)
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                if function == _TENSOR:
                    dtype, _, shape, *_ = arguments
                    tensors.append((_text(dtype), tuple(map(int, shape))))
                stack.append(None)
            case name:
                raise ValueError(f"its pickle has the opcode {name}, which torch does not write")
    return tensors, class_name


def _text(value: Any) -> str:
    """Return a string. Nested tuples, whose hash can take forever, raise ValueError."""
    if not isinstance(value, str):
        raise ValueError("its pickle has another value where torch writes a name")
    return value


def _arguments(code: str, class_name: str) -> list[str]:
    """Return the names of the arguments of `forward`, without `self`."""
    _, _, body = code.partition(f"class {class_name}(Module):")
    _, _, signature = body.partition("\nclass ")[0].partition("  def forward(self: ")
    return re.findall(r"^ *(\w+): ", signature.partition(") ->")[0], re.MULTILINE)


def _metadata(path: Path, archive: zipfile.ZipFile) -> dict[str, str]:
    extra = sorted(name for name in archive.namelist() if "/extra/" in name)
    size = sum(archive.getinfo(name).file_size for name in extra)
    if size > _MOST_BYTES:
        raise ArtifactError(f"{path} is refused: its metadata has {size} bytes; at most {_MOST_BYTES} are read")
    return {name.partition("/extra/")[2]: _read(path, archive, name).decode(errors="replace") for name in extra}


def _contract(variant: str, dtype: str) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    """Return the inputs and outputs of the network, because a scripted module keeps no shapes."""

    def image(name: str, channels: int) -> TensorInfo:
        return TensorInfo(name=name, dtype=dtype, shape=("batch", channels, "height", "width"))

    def states(names: tuple[str, ...]) -> list[TensorInfo]:
        return [
            TensorInfo(name=name, dtype=dtype, shape=("batch", channels, f"{name}_height", f"{name}_width"))
            for name, channels in zip(names, STATE_CHANNELS[variant], strict=True)
        ]

    ratio = TensorInfo(name=INPUTS[5], dtype="float", shape=())
    return (image("src", 3), *states(INPUTS[1:5]), ratio), (image("fgr", 3), image("pha", 1), *states(OUTPUTS[2:]))
