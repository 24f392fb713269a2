"""Draw spoiled files, each from a number: the same number gives the same file."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tools.tests.hostile.commands import CLIP, MUTATED
from tools.tests.hostile.good_files import FOLDERS, MODELS, PICTURES, RELEASE, VIDEOS, WEIGHTS
from tools.tests.hostile.home import Home
from tools.tests.hostile.spoil_bytes import ARCHIVE, BYTES, JSON, Mutation, in_entry, run_code
from tools.tests.hostile.spoil_coreml import NETWORK, PROGRAM
from tools.tests.hostile.spoil_executorch import EXECUTORCH
from tools.tests.hostile.spoil_litert import LITERT
from tools.tests.hostile.spoil_media import JPEG, MP4, PNG
from tools.tests.hostile.spoil_ncnn import NCNN
from tools.tests.hostile.spoil_onnx import ONNX
from tools.tests.hostile.spoil_openvino import OPENVINO
from tools.tests.hostile.spoil_pt2 import PT2
from tools.tests.hostile.spoil_saved_model import SAVED_MODEL
from tools.tests.hostile.spoil_tfjs import TFJS
from tools.tests.hostile.spoil_weights import PTH, SAFETENSORS


def _zipped(mutations: Sequence[Mutation], ending: str) -> tuple[Mutation, ...]:
    return (*BYTES, *ARCHIVE, *(in_entry(mutation, ending) for mutation in mutations))


MUTATIONS: Mapping[str, tuple[Mutation, ...]] = {
    "model.onnx": ONNX,
    "fixed.onnx": ONNX,
    "model.torchscript": (*BYTES, *ARCHIVE, run_code),
    "model.pt2": (*BYTES, *ARCHIVE, *PT2),
    "savedmodel.zip": _zipped(SAVED_MODEL, "saved_model.pb"),
    "tfjs.zip": _zipped((*TFJS, *JSON), "model.json"),
    "model.mlpackage.zip": _zipped(PROGRAM, ".mlmodel"),
    "model.ncnn.zip": (*BYTES, *ARCHIVE, *NCNN),
    "model.openvino.zip": (*BYTES, *ARCHIVE, *OPENVINO),
    "model.pte": (*BYTES, *EXECUTORCH),
    "model.tflite": (*BYTES, *LITERT),
    "model.mlmodel": (*BYTES, *NETWORK * 2),
    "savedmodel/saved_model.pb": (*BYTES, *SAVED_MODEL),
    "tfjs/model.json": (*BYTES, *TFJS, *JSON),
    "model.mlpackage/Data/com.apple.CoreML/model.mlmodel": (*BYTES, *PROGRAM),
    "weights.pth": (*BYTES, *ARCHIVE, run_code, run_code, *PTH),
    "weights.safetensors": (*BYTES, *SAFETENSORS),
    "picture.png": (*BYTES, *PNG),
    "deep.png": (*BYTES, *PNG),
    "picture.jpg": (*BYTES, *JPEG),
    "video.mp4": (*BYTES, *MP4 * 2),
    "video.mkv": BYTES,
}
"""The ways to spoil a file. Of the other files in folders, JSON and pictures have their ways, the rest `BYTES`."""

BY_SUFFIX: Mapping[str, tuple[Mutation, ...]] = {".json": (*BYTES, *JSON), ".png": (*BYTES, *PNG)}

OFTEN = {
    "model.onnx": 4,
    "fixed.onnx": 2,
    f"{RELEASE}/manifest.json": 4,
    f"{RELEASE}/SHA256SUMS": 2,
    "tfjs/model.json": 2,
    "savedmodel/saved_model.pb": 2,
    "weights.safetensors": 2,
    "picture.png": 2,
    "picture.jpg": 2,
    "video.mp4": 4,
}
"""Files that are spoiled more than once in each turn, since they hold the most that can be wrong."""

KINDS: Mapping[str, str] = {
    **dict.fromkeys((*MODELS, *FOLDERS), "model"),
    **dict.fromkeys(WEIGHTS, "weights"),
    **dict.fromkeys(PICTURES, "picture"),
    **dict.fromkeys(VIDEOS, "video"),
    CLIP: "pictures",
    RELEASE: "release",
}
"""The kind of each good file or folder, see `commands.MUTATED`."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A spoiled file: the name of the good one, how it was spoiled, its content, and the commands that open it."""

    name: str
    way: str
    content: bytes
    commands: tuple[str, ...]


def targets(home: Home) -> list[str]:
    """Return the names of all files that may be spoiled, each as often as in a turn, so that a turn holds all kinds."""
    folders = [path for name in (*FOLDERS, RELEASE) for path in sorted((home.good / name).rglob("*"))]
    names = [path.relative_to(home.good).as_posix() for path in folders if path.is_file()]
    names = [name for name in names if "/." not in name]
    single = [name for name in (*MODELS, *WEIGHTS, *PICTURES, *VIDEOS) if (home.good / name).exists()]
    return [name for name in (*single, f"{CLIP}/7.png", *names) for _ in range(OFTEN.get(name, 1))]


def draw(number: int, home: Home) -> Mutant:
    """Return the spoiled file of a number from 0. The files take turns, and so do the ways of each file.

    Each file begins with another way, so that even the first turn has all kinds of ways.
    """
    names = targets(home)
    name = names[number % len(names)]
    ways, first = ways_of(name), names.index(name)
    turn = number // len(names) * OFTEN.get(name, 1) + number % len(names) - first
    way, content = ways[(first + turn) % len(ways)], (home.good / name).read_bytes()
    random = Random(number)
    tries = iter(range(100))  # a way may find nothing to change in a small file
    while (spoiled := way(content, random, home) if content else content + b"x") == content:
        next(tries)
    return Mutant(name=name, way=way.__name__, content=spoiled, commands=MUTATED[KINDS[name.partition("/")[0]]])


def ways_of(name: str) -> tuple[Mutation, ...]:
    """Return the ways to spoil a good file."""
    return MUTATIONS.get(name) or BY_SUFFIX.get(Path(name).suffix, BYTES)


@contextmanager
def written(mutant: Mutant, home: Home) -> Iterator[Path]:
    """Yield the spoiled file, or the folder that it lies in, and remove it afterwards."""
    top = mutant.name.partition("/")[0]
    if top != mutant.name:
        shutil.copytree(home.good / top, home.files / top)
    (home.files / mutant.name).write_bytes(mutant.content)
    try:
        yield home.files / top
    finally:
        shutil.rmtree(home.files)
        home.files.mkdir()
