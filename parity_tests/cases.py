"""The cases that prove a format: weights, size, ratio and batch, as data. A row is a test of every format.

Trained weights and the real clip are not part of the project. They are in `../shared` beside it, or where the
environment variable RVM_SHARED points. Tests that need them are skipped with that reason if they are missing.
RVM_WEIGHTS and RVM_CLIP, which `make soak` and `make speed` set, name a checkpoint and a clip to use instead.
"""

import math
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from exporters import FORMATS
from exporters.spec import ExportSpec, Fixed
from parity_tests.clips import Clip, Kind, builtin_clip, load_clip
from rvm_model.weights.checkpoint import Checkpoint, load_checkpoint

TRAINED = "weights/rvm_mobilenetv3_{}.safetensors"
REAL_CLIP, REAL_VIDEO = "clip/frames", "clip/clip.mp4"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One clip at one size and ratio.

    `weights` is `seeded`, or one of three approximations of the released weights in the shared folder: `from_tfjs` and
    `from_coreml` are float32, so that half precision has something to round; `consensus_fp16` is not. `clip` is `real`
    or `builtin`.
    """

    weights: str
    clip: Kind
    variant: str = "mobilenetv3"
    refiner: str = "deep_guided_filter"
    width: int
    height: int
    ratio: float
    batch: int = 1
    frames: int = 12

    def __str__(self) -> str:
        batch = f"-batch{self.batch}" if self.batch > 1 else ""
        size = f"{self.width}x{self.height}"
        return f"{self.weights}-{self.variant}-{self.refiner}-{self.clip}-{size}-{self.ratio:g}{batch}"


CASES = (
    Case(weights="from_coreml", clip="real", width=320, height=192, ratio=0.5),
    Case(weights="from_coreml", clip="real", width=320, height=192, ratio=0.5, refiner="fast_guided_filter"),
    Case(weights="from_tfjs", clip="builtin", width=160, height=96, ratio=1.0),
    Case(weights="seeded", clip="builtin", width=160, height=96, ratio=0.5, batch=2),
    Case(weights="seeded", clip="builtin", variant="resnet50", width=160, height=96, ratio=0.5),
)
"""The tests play these in every format and precision. Their internal sizes are whole, as files of one size need."""

ODD_CASES = (
    Case(weights="from_tfjs", clip="real", width=331, height=217, ratio=0.375),
    Case(weights="from_tfjs", clip="real", width=217, height=331, ratio=0.7123),
)
"""Odd sizes and ratios, for files of any size; `tools/measure/random_exports.py` plays two hundred more."""

UNAFFORDABLE = {("torchscript", "fp16"): 200_000, ("pt2", "fp16"): 200_000}
"""Most pixels at the internal size, over all frames, that a slow format's test plays: half precision on a CPU."""


def affordable(case: Case, format_name: str, precision: str) -> bool:
    """Return False if a case would take minutes."""
    budget = UNAFFORDABLE.get((format_name, precision), math.inf)
    return case.width * case.height * case.ratio**2 * case.batch * case.frames <= budget


def case_spec(case: Case, format_name: str, precision: str) -> ExportSpec:
    """Return the options of a case's file: for any size if the format has such files, else for its size."""
    size = Fixed(width=case.width, height=case.height, ratio=case.ratio, batch=case.batch)
    fixed = {"fixed": size} if FORMATS[format_name].one_size else {}
    return FORMATS[format_name].spec(variant=case.variant, refiner=case.refiner, precision=precision, **fixed)


def artifact_name(case: Case, format_name: str, precision: str) -> str:
    """Return the name of a case's artifact. Cases that share a file get equal names."""
    size = (f"{case.width}x{case.height}-{case.ratio:g}-{case.batch}",) if FORMATS[format_name].one_size else ()
    return "-".join((case.weights, case.variant, case.refiner, format_name, precision, *size))


def shared_folder() -> Path | None:
    """Return the folder of trained weights and the real clip, or None if this machine has none."""
    folder = Path(os.environ.get("RVM_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    return folder if (folder / REAL_CLIP).is_dir() else None


def needed_shared_folder() -> Path:
    """Return the shared folder. Raise FileNotFoundError if this machine has none."""
    folder = shared_folder()
    if folder is None:
        raise FileNotFoundError(
            "no trained weights here: give WEIGHTS= and CLIP= to make, or put them into ../shared beside the project, "
            "or where RVM_SHARED points"
        )
    return folder


def trained_weights(weights: str) -> Path:
    """Return the file of trained weights: the one that RVM_WEIGHTS names, else that of the shared folder.

    Raises:
        FileNotFoundError: this machine has neither.
    """
    given = os.environ.get("RVM_WEIGHTS")
    return Path(given) if given else needed_shared_folder() / TRAINED.format(weights)


def real_clip(name: str = REAL_CLIP) -> Path:
    """Return the real clip: the one that RVM_CLIP names, else the shared folder's, as pictures or as a video.

    Raises:
        FileNotFoundError: this machine has neither.
    """
    given = os.environ.get("RVM_CLIP")
    return Path(given) if given else needed_shared_folder() / name


def has_real_data() -> bool:
    """Return True if this machine has trained weights and a real clip."""
    try:
        return trained_weights("from_tfjs").exists() and real_clip().exists()
    except FileNotFoundError:
        return False


@lru_cache(maxsize=4)
def case_checkpoint(weights: str, variant: str, refiner: str) -> Checkpoint:
    """Load seeded weights, or trained ones of the shared folder.

    Raises:
        FileNotFoundError: trained weights are missing on this machine.
    """
    if weights == "seeded":
        return load_checkpoint("seeded", variant, refiner)
    trained = load_checkpoint(trained_weights(weights), variant)
    return trained if refiner == trained.refiner else trained.with_fast_guided_filter()


def case_clip(case: Case) -> Clip:
    """Return a case's clip, in its size and batch.

    Raises:
        FileNotFoundError: the real clip is missing on this machine.
    """
    if case.clip == "builtin":
        clip = builtin_clip(case.frames, case.width, case.height)
    else:
        clip = load_clip(real_clip(), case.frames)
    return clip.fitted(case.width, case.height, case.batch)
