"""What is played to prove a format: weights, size, ratio and batch, as data. A row is a test, or a line of `make soak`.

Trained weights and the real clip are not part of the project. They lie in `../shared` beside it, or where the
environment variable RVM_SHARED points; what needs them is skipped, with that reason, where they are missing.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from exporters import FORMATS
from exporters.spec import ExportSpec, Fixed
from parity_tests.clips import Clip, Kind, builtin_clip, load_clip
from rvm_model.checkpoint import Checkpoint, load_checkpoint

TRAINED = "weights/rvm_mobilenetv3_{}.safetensors"
REAL_CLIP = "clip/frames"


@dataclass(frozen=True, kw_only=True)
class Play:
    """One clip at one size and ratio. `long` ones run in `make soak` only.

    `one_size` ones are played in `make soak` by formats that have a file for each size, too. `without` are precisions
    that `make soak` leaves out.

    `weights` are `seeded`, or one of the shared folder's three approximations of the released ones: `from_tfjs` and
    `from_coreml` are float32, so that half precision has something to round, `consensus_fp16` is not. `clip` is `real`
    or `builtin`; the latter is what an export is verified with, at .5 or in the file's own size.
    """

    weights: str
    clip: Kind
    variant: str = "mobilenetv3"
    width: int = 640
    height: int = 360
    ratio: float
    batch: int = 1
    frames: int = 24
    long: bool = False
    one_size: bool = False
    without: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """`trained` or `seeded`, as tolerances have it."""
        return "seeded" if self.weights == "seeded" else "trained"

    def __str__(self) -> str:
        batch = f"-batch{self.batch}" if self.batch > 1 else ""
        size = f"{self.width}x{self.height}"
        return f"{self.weights}-{self.variant}-{self.clip}-{self.frames}-{size}-{self.ratio:g}{batch}"


PLAYS = (
    Play(weights="from_tfjs", clip="real", ratio=1.0, long=True),
    Play(weights="from_tfjs", clip="real", ratio=0.5, one_size=True),
    Play(weights="from_tfjs", clip="real", ratio=0.4),
    Play(weights="from_tfjs", clip="real", ratio=0.375, one_size=True),
    Play(weights="from_tfjs", clip="real", ratio=0.25),
    Play(weights="from_tfjs", clip="real", ratio=0.5, batch=2),
    Play(weights="from_tfjs", clip="real", width=331, height=217, ratio=0.5),
    Play(weights="from_tfjs", clip="real", width=331, height=217, ratio=0.375),
    Play(weights="from_tfjs", clip="real", width=639, height=481, ratio=0.4),
    Play(weights="from_tfjs", clip="real", width=639, height=481, ratio=0.375),
    Play(weights="from_tfjs", clip="real", width=1280, height=720, ratio=0.375, frames=16, one_size=True),
    Play(weights="from_tfjs", clip="real", width=1280, height=720, ratio=0.6, long=True),
    Play(weights="from_tfjs", clip="real", width=1920, height=1080, ratio=0.25, long=True, one_size=True),
    Play(weights="from_tfjs", clip="real", width=1920, height=1080, ratio=0.4, long=True),
    Play(weights="from_tfjs", clip="real", width=3840, height=2160, ratio=0.125, long=True),
    Play(weights="from_tfjs", clip="real", width=256, height=144, ratio=1.0, frames=16, one_size=True),
    Play(weights="from_tfjs", clip="real", width=320, height=180, ratio=0.5, batch=2, frames=16),
    Play(weights="from_tfjs", clip="builtin", width=320, height=180, ratio=0.5, one_size=True),
    Play(weights="from_tfjs", clip="builtin", width=320, height=180, ratio=0.375),
    Play(weights="from_coreml", clip="builtin", width=320, height=180, ratio=0.5, long=True),
    Play(weights="from_coreml", clip="builtin", width=320, height=180, ratio=0.375, long=True),
    Play(weights="consensus_fp16", clip="builtin", width=320, height=180, ratio=0.5, long=True),
    Play(weights="consensus_fp16", clip="builtin", width=320, height=180, ratio=0.375, long=True),
    # As a file of one size is verified. Of a small figure trained weights are so unsure that with eight bits they drift
    # nearly as much as the matte moves at the released sizes: such limits would let anything pass.
    Play(weights="from_coreml", clip="builtin", ratio=0.5, long=True, one_size=True, without=("int8",)),
    Play(weights="from_tfjs", clip="builtin", width=1280, height=720, ratio=0.375, long=True),
    Play(weights="from_coreml", clip="builtin", width=1280, height=720, ratio=0.375, long=True, one_size=True),
    Play(
        weights="from_coreml",
        clip="builtin",
        width=512,
        height=512,
        ratio=1.0,
        long=True,
        one_size=True,
        without=("int8",),
    ),
    Play(
        weights="consensus_fp16",
        clip="builtin",
        width=512,
        height=512,
        ratio=1.0,
        long=True,
        one_size=True,
        without=("int8",),
    ),
    Play(weights="consensus_fp16", clip="builtin", width=1280, height=720, ratio=0.375, long=True, one_size=True),
    Play(weights="consensus_fp16", clip="builtin", width=1920, height=1080, ratio=0.25, long=True, one_size=True),
    # What eight bits do to weights that were never on their grid, on people.
    Play(weights="from_coreml", clip="real", ratio=0.5, long=True, one_size=True),
    Play(weights="from_coreml", clip="real", ratio=0.375, long=True, one_size=True),
    Play(weights="consensus_fp16", clip="real", ratio=0.5, long=True, one_size=True),
    Play(weights="consensus_fp16", clip="real", ratio=0.375, long=True, one_size=True),
    Play(weights="seeded", clip="builtin", width=320, height=180, ratio=1.0, one_size=True),
    Play(weights="seeded", clip="builtin", width=320, height=180, ratio=0.5, one_size=True),
    Play(weights="seeded", clip="builtin", width=320, height=180, ratio=0.375),
    Play(weights="seeded", clip="builtin", width=320, height=180, ratio=0.5, frames=300, long=True),
    Play(weights="seeded", clip="builtin", width=1280, height=720, ratio=0.375, long=True, one_size=True),
    Play(
        weights="seeded", clip="builtin", variant="resnet50", width=320, height=180, ratio=0.5, frames=16, one_size=True
    ),
    Play(
        weights="seeded", clip="builtin", variant="resnet50", width=331, height=217, ratio=0.375, frames=16, long=True
    ),
    Play(
        weights="seeded", clip="builtin", variant="resnet50", width=1920, height=1080, ratio=0.25, frames=16, long=True
    ),
)


TEST_BUDGETS = {
    ("torchscript", "fp16"): 600_000,
    ("onnx", "int8"): 1_500_000,
    **dict.fromkeys((("tfjs", each) for each in FORMATS["tfjs"].precisions), 300_000),
}
SOAK_BUDGETS = dict.fromkeys(TEST_BUDGETS, 1_400_000) | {("onnx", "int8"): 3_500_000}
"""Pixels at the internal size, over all frames, that one play of a slow case may have, by format and precision.

PyTorch's half precision is slow on a CPU, and so is WebAssembly. ONNX in eight bits is not, but a third precision of
everything; its largest plays show what the others do.
"""


def affordable(play: Play, format_name: str, precision: str, budgets: Mapping[tuple[str, str], int]) -> bool:
    """Whether a play ends in reasonable time."""
    budget = budgets.get((format_name, precision), math.inf)
    return play.width * play.height * play.ratio**2 * play.batch * play.frames <= budget


def play_spec(play: Play, format_name: str, refiner: str, precision: str) -> ExportSpec:
    """The file that a play needs: for any size where the format has such, else for the play's."""
    size = Fixed(width=play.width, height=play.height, ratio=play.ratio, batch=play.batch)
    fixed = {"fixed": size} if FORMATS[format_name].one_size else {}
    return FORMATS[format_name].spec(variant=play.variant, refiner=refiner, precision=precision, **fixed)


def artifact_name(play: Play, format_name: str, refiner: str, precision: str) -> str:
    """The same for plays that one file serves."""
    size = (f"{play.width}x{play.height}-{play.ratio:g}",) if FORMATS[format_name].one_size else ()
    return "-".join((play.weights, play.variant, refiner, format_name, precision, *size))


def shared_folder() -> Path | None:
    """Where trained weights and the real clip lie, if this machine has them."""
    folder = Path(os.environ.get("RVM_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    return folder if (folder / REAL_CLIP).is_dir() else None


def needed_shared_folder() -> Path:
    """The same. Raises FileNotFoundError on a machine that has none."""
    folder = shared_folder()
    if folder is None:
        raise FileNotFoundError(
            "no trained weights here: they lie in ../shared beside the project, or where RVM_SHARED points"
        )
    return folder


@lru_cache(maxsize=4)
def play_checkpoint(weights: str, variant: str, refiner: str) -> Checkpoint:
    """Seeded weights, or trained ones of the shared folder.

    Raises:
        FileNotFoundError: trained weights on a machine that has none.
    """
    if weights == "seeded":
        return load_checkpoint("seeded", variant, refiner)
    trained = load_checkpoint(needed_shared_folder() / TRAINED.format(weights), variant)
    return trained if refiner == trained.refiner else trained.with_fast_guided_filter()


def play_clip(play: Play) -> Clip:
    """A play's clip, in its size and batch.

    Raises:
        FileNotFoundError: the real clip on a machine that does not have it.
    """
    if play.clip == "builtin":
        clip = builtin_clip(play.frames, play.width, play.height)
    else:
        clip = load_clip(needed_shared_folder() / REAL_CLIP, play.frames)
    return clip.fitted(play.width, play.height, play.batch)
