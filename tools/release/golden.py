"""`golden.npz` of a release, made once for all its variants."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock

from rvm_model.files import read_file, sha256_of
from rvm_model.state import REFINERS
from rvm_model.video.synthetic.clip import VERSION
from rvm_model.weights.checkpoint import Checkpoint
from tools.companions import GOLDEN
from tools.companions.golden import FRAMES, SIZES, pack, vectors
from tools.companions.versions import source_sha256, tools_of
from tools.jobs.seals import seal_key, sealed, unsealed
from tools.release.build import Order, record_of
from tools.release.files import FOLDER
from tools.shared.models import load_weights
from tools.shared.outputs import publish, write_text

_MOST_RECORD = 10_000


def key_of(checkpoints: Mapping[str, Checkpoint]) -> str:
    """Return a hash of all that the vectors depend on: weights, frames, PyTorch's version, our own source."""
    weights = {variant: each.weights_sha256 for variant, each in checkpoints.items()}
    sizes = [asdict(each) for each in SIZES]
    facts = (weights, sizes, FRAMES, VERSION, tools_of("torchscript"), source_sha256())
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def made_already(path: Path, key: str) -> bool:
    """Return whether this user made the vectors from the inputs of `key`, and they are unchanged."""
    try:
        return unsealed(read_file(record_of(path), _MOST_RECORD), seal_key(key)) == sha256_of(path)
    except (OSError, ValueError):
        return False


def build(order: Order, variants: tuple[str, ...], seal: bytes) -> None:
    """Write the vectors of these variants, and their record, sealed with the result of `seal_key`. Runs as a job.

    Raises:
        UserError: weights that cannot be used.
        ExportFailed: the file could not be written.
    """
    path = order.out / GOLDEN
    arrays = vectors(
        [load_weights(order.checkpoints[variant], variant, REFINERS[0], order.trust) for variant in variants]
    )
    with FileLock(record_of(path).with_suffix(".lock")):
        publish(path, lambda staged: pack(arrays, staged), lambda _: None, force=True, desk=order.out / FOLDER)
        write_text(sealed(sha256_of(path), seal), record_of(path))
