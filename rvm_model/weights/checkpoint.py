"""Weights from a file, from the released project, or seeded; always verified before use."""

import hashlib
import os
import pickle
import pickletools
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Literal

import pooch
import requests
import safetensors.torch
import torch
from torch import Tensor

from rvm_model.errors import UserError, first_line
from rvm_model.files import check_file, open_file, sha256_of
from rvm_model.network.matting_network import MattingNetwork, Refine
from rvm_model.state import REFINERS, VARIANTS
from rvm_model.weights.bounded_download import BoundedDownloader, RefusedBody
from rvm_model.weights.seeded import seeded_state_dict
from rvm_model.zip_files import ZipError, find_damage, open_zip, rewritten

RELEASE_URL = "https://github.com/PeterL1n/RobustVideoMatting/releases/download/v1.0.0"
"""Release of the `official` checkpoints; the environment variable RVM_RELEASE_URL sets a mirror."""

RELEASED = {
    "mobilenetv3": (
        "rvm_mobilenetv3.pth",
        "3c7c1d92033f7c38d6577c481d13a195d7d80a159b960f4f3119ac7b534cf4f8",
        15217721,
    ),
    "resnet50": ("rvm_resnet50.pth", "c191a807251164c073dce5fa408e7a816070d539b882b2a3150330a9fec112ce", 107905875),
}
"""File name, sha256 and size in bytes of the released checkpoints."""

Origin = Literal["file", "official", "seeded"]
_LISTED = 12
_SOURCES = "a .pth or .safetensors file, official, seeded or auto"
_WEIGHTS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_COUNTERS = (torch.int64,)
_MOST_LISTED_BYTES = 1_000_000
"""The limit of the bytes that name the tensors and say their shapes and places. The larger network has 45,000."""

_PICKLED = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_\w+|torch(\.storage)? \w+Storage"
    r"|torch (Size|[a-z]\w+)|torch\.serialization _get_layout"
)
"""The classes and functions that the pickle of tensors names, whatever their kind, dtype and layout."""


class CheckpointError(UserError):
    """Weights that cannot be loaded or used. The message is one line for the user."""


class DownloadError(CheckpointError):
    """A failed download: the released checkpoint is not in the cache, and could not be downloaded whole."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """Weights that fit a variant and refiner.

    `state_dict` holds float32 (and int64 counters) on the CPU. `sha256` is the file's; for seeded weights it is
    `weights_sha256`. `name` is for display: the path, or the origin.
    """

    variant: str
    refiner: str
    origin: Origin
    name: str
    sha256: str
    state_dict: Mapping[str, Tensor]

    @property
    def seeded(self) -> bool:
        return self.origin == "seeded"

    @property
    def weights_sha256(self) -> str:
        """Hash of keys, shapes and float32 bytes: the same for one set of weights in any file format."""
        return weights_sha256(self.state_dict)

    def with_fast_guided_filter(self) -> "Checkpoint":
        """Return these weights for the fast guided filter, which has no parameters: without the other refiner's."""
        state_dict = {key: value for key, value in self.state_dict.items() if not key.startswith("refiner.")}
        return replace(self, refiner="fast_guided_filter", state_dict=state_dict)

    def network(self, refine: Refine = "auto") -> MattingNetwork:
        """Return the network with these weights, float32, on the CPU, in inference mode."""
        network = MattingNetwork(self.variant, self.refiner, refine)
        network.load_state_dict(dict(self.state_dict))
        return network.eval().requires_grad_(False)


def load_checkpoint(
    source: str | Path = "auto",
    variant: str = "mobilenetv3",
    refiner: str = "deep_guided_filter",
    progress: bool = True,
) -> Checkpoint:
    """Load weights for a variant and refiner.

    Args:
        source: A `.pth` or `.safetensors` file; `official`, the released checkpoint, from the cache or downloaded;
            `seeded`, weights that need no file and matte nothing; `auto`, official if cached or downloadable, else
            seeded with a warning. Half-precision weights are widened to float32.
        variant: `mobilenetv3` or `resnet50`.
        refiner: `deep_guided_filter` or `fast_guided_filter`.
        progress: Show a bar while a checkpoint is downloaded.

    Raises:
        CheckpointError: no such file, a damaged or unsafe one, keys or shapes that differ from the network's, weights
            that are not finite, or a download that failed.
        ValueError: unknown variant or refiner.
    """
    expected_shapes(variant, refiner)
    if source == "seeded":
        return _seeded(variant, refiner)
    if source == "official":
        return _official(variant, refiner, progress)
    if source == "auto":
        try:
            return _official(variant, refiner, progress)
        except DownloadError as error:
            warnings.warn(
                f"{error}; going on with SEEDED weights, which matte nothing: good for trying the tools, not for use",
                stacklevel=2,
            )
            return _seeded(variant, refiner)
    return _from_file(Path(source), "file", variant, refiner)


def load_checkpoint_file(path: Path) -> Checkpoint:
    """Load a `.pth` or `.safetensors` file of any variant and refiner; its keys determine them.

    Raises:
        CheckpointError: as in `load_checkpoint`.
    """
    shapes = _shapes(_read(path))
    pairs = ((variant, refiner) for variant in VARIANTS for refiner in REFINERS)
    variant, refiner = next((pair for pair in pairs if expected_shapes(*pair) == shapes), (VARIANTS[0], REFINERS[0]))
    return _from_file(path, "file", variant, refiner)


def weights_sha256(state_dict: Mapping[str, Tensor]) -> str:
    """Return `Checkpoint.weights_sha256`. It ignores counters, the order of keys, and the dtype of the weights."""
    digest = hashlib.sha256()
    for key in sorted(state_dict):
        tensor = state_dict[key]
        if tensor.is_floating_point():
            digest.update(f"{key} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().float().contiguous().numpy().astype("<f4", copy=False).tobytes())
    return digest.hexdigest()


def download(
    variant: str,
    folder: Path | None = None,
    url: str | None = None,
    timeout: tuple[float, float] = (10, 30),
    progress: bool = True,
) -> Path:
    """Return the path of the released checkpoint. Download it unless the folder holds it whole.

    Args:
        variant: `mobilenetv3` or `resnet50`.
        folder: The cache; by default the user's.
        url: The release's address; by default RVM_RELEASE_URL, else GitHub.
        timeout: Seconds to wait for a connection, and for the next bytes.
        progress: Show a bar.

    Raises:
        DownloadError: no connection, an HTTP error, a stall, a truncated, wrong or endless file. None of these leaves a
            file.
    """
    name, sha256, most_bytes = RELEASED[variant]
    url = f"{url or os.environ.get('RVM_RELEASE_URL') or RELEASE_URL}/{name}"
    pooch.get_logger().setLevel("WARNING")
    cache = Path(folder or pooch.os_cache("rvm-export"))
    try:
        if (cache / name).exists():
            check_file(cache / name)  # pooch would wait for a pipe
        path = pooch.retrieve(
            url,
            known_hash=f"sha256:{sha256}",
            fname=name,
            path=cache,
            downloader=BoundedDownloader(most_bytes=most_bytes, timeout=timeout, progress=progress),
        )
    except RefusedBody as error:
        raise DownloadError(f"cannot download {url}: {error}") from error
    except requests.HTTPError as error:
        raise DownloadError(f"cannot download {url}: HTTP {error.response.status_code}") from error
    except requests.ConnectTimeout as error:
        raise DownloadError(f"cannot download {url}: no connection within {timeout[0]:g} s") from error
    except requests.Timeout as error:
        raise DownloadError(f"cannot download {url}: nothing came for {timeout[1]:g} s") from error
    except requests.ConnectionError as error:
        stalled = "timed out" in str(error).lower()
        why = f"nothing came for {timeout[1]:g} s" if stalled else "the server cannot be reached, or broke off"
        raise DownloadError(f"cannot download {url}: {why}") from error
    except requests.exceptions.ChunkedEncodingError as error:
        raise DownloadError(f"cannot download {url}: the answer broke off before its end") from error
    except requests.RequestException as error:
        raise DownloadError(f"cannot download {url}: {first_line(error)}") from error
    except ValueError as error:
        if "hash" in str(error):  # pooch's word for a wrong file
            raise DownloadError(f"cannot use {url}: its sha256 is not {sha256}") from error
        raise DownloadError(f"cannot download {url}: {first_line(error)}") from error
    except OSError as error:
        raise DownloadError(f"cannot keep {name} in the cache: {error.strerror or error}") from error
    return Path(path)


def _seeded(variant: str, refiner: str) -> Checkpoint:
    state_dict = seeded_state_dict(expected_shapes(variant, refiner))
    return Checkpoint(
        variant=variant,
        refiner=refiner,
        origin="seeded",
        name="seeded",
        sha256=weights_sha256(state_dict),
        state_dict=state_dict,
    )


def _official(variant: str, refiner: str, progress: bool) -> Checkpoint:
    checkpoint = _from_file(download(variant, progress=progress), "official", variant, "deep_guided_filter")
    return checkpoint if refiner == "deep_guided_filter" else checkpoint.with_fast_guided_filter()


def _from_file(path: Path, origin: Origin, variant: str, refiner: str) -> Checkpoint:
    state_dict = _read(path)
    _check_keys(path, state_dict, variant, refiner)
    widened = {key: value.float() if value.is_floating_point() else value for key, value in state_dict.items()}
    for key, tensor in widened.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path}: {key} holds a value that is not finite in float32; the file is damaged")
        if key.endswith("running_var") and (tensor < 0).any():
            raise CheckpointError(f"{path}: {key} holds a negative variance; the file is damaged")
    return Checkpoint(
        variant=variant,
        refiner=refiner,
        origin=origin,
        name=str(path) if origin == "file" else origin,
        sha256=sha256_of(path),
        state_dict=widened,
    )


def _read(path: Path) -> dict[str, Tensor]:
    readers = {".pth": _read_pth, ".safetensors": _read_safetensors}
    try:
        if not path.exists():
            raise CheckpointError(f"no such checkpoint: {path}; give {_SOURCES}")
        if path.suffix not in readers or not path.is_file():
            raise CheckpointError(f"{path} is no checkpoint; give {_SOURCES}")
        check_file(path)
        state_dict = readers[path.suffix](path)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    if not isinstance(state_dict, dict) or not all(isinstance(key, str) for key in state_dict):
        raise CheckpointError(f"{path} does not hold a state_dict, a table of names and tensors")
    for key, value in state_dict.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(f"{path} does not hold a state_dict: {key} is no tensor")
        dtypes = _COUNTERS if key.endswith("num_batches_tracked") else _WEIGHTS
        if value.dtype not in dtypes or value.layout != torch.strided or value.is_nested or value.is_meta:
            raise CheckpointError(
                f"{path}: {key} is {value.dtype}, {value.layout}; known are dense {', '.join(map(str, dtypes))}"
            )
    return state_dict


def _read_pth(path: Path) -> dict[str, Tensor]:
    damage = find_damage(path)
    if damage:
        raise CheckpointError(f"{path} {damage}")
    try:
        with open_zip(path) as archive:
            if any("/code/" in name for name in archive.namelist()):
                raise CheckpointError(f"{path} is TorchScript, not a checkpoint; give {_SOURCES}")
            for entry in archive.infolist():
                if entry.filename.lower().endswith("/data.pkl"):  # torch ignores case
                    with archive.open(entry) as pickled:
                        _check_pickle(path, entry.file_size, pickled)
            content = rewritten(archive)
    except ZipError as error:
        raise CheckpointError(f"{path} {error}") from error
    try:
        state_dict: dict[str, Tensor] = torch.load(content, map_location="cpu", weights_only=True)
    # For a pickle that is no checkpoint, torch may raise any exception.
    except Exception as error:
        if isinstance(error, pickle.UnpicklingError) and "global" in str(error).lower():
            raise CheckpointError(
                f"{path} is refused: its pickle asks for more than tensors, and could run code"
            ) from error
        raise CheckpointError(f"{path} is no PyTorch checkpoint: {first_line(error)}") from error
    return state_dict


def _check_pickle(path: Path, size: int, pickled: IO[bytes]) -> None:
    """Raise CheckpointError for a pickle that is large, or calls anything but what builds tensors.

    Torch refuses to run code, but calls some functions that make gigabytes of a few bytes.
    """
    if size > _MOST_LISTED_BYTES:
        raise CheckpointError(f"{path} is refused: its pickle has {size} bytes; at most {_MOST_LISTED_BYTES} are read")
    try:
        called = {argument for code, argument, _ in pickletools.genops(pickled) if code.name == "GLOBAL"}
    except ValueError as error:
        raise CheckpointError(f"{path} is no PyTorch checkpoint: {first_line(error)}") from error
    if not all(_PICKLED.fullmatch(str(each)) for each in called):
        raise CheckpointError(f"{path} is refused: its pickle asks for more than tensors, and could run code")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    with open_file(path) as file:
        header = int.from_bytes(file.read(8), "little")
    if header > _MOST_LISTED_BYTES:
        raise CheckpointError(
            f"{path} is damaged: its header would have {header} bytes; at most {_MOST_LISTED_BYTES} are read"
        )
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is damaged: {first_line(error)}") from error


def _check_keys(path: Path, state_dict: Mapping[str, Tensor], variant: str, refiner: str) -> None:
    expected = expected_shapes(variant, refiner)
    given = _shapes(state_dict)
    if given == expected:
        return
    for other_variant in VARIANTS:
        for other_refiner in REFINERS:
            if given == expected_shapes(other_variant, other_refiner):
                raise CheckpointError(
                    f"{path} is a checkpoint of {other_variant} with {other_refiner}, not of {variant} with {refiner}; "
                    f"use --variant {other_variant} --refiner {other_refiner}"
                )
    faults = {
        "missing": [key for key in expected if key not in given],
        "extra": [key for key in given if key not in expected],
        "of another shape": [
            f"{key} {list(given[key])} instead of {list(expected[key])}"
            for key in expected
            if key in given and given[key] != expected[key]
        ],
    }
    raise CheckpointError(
        f"{path} does not fit {variant} with {refiner}: "
        + "; ".join(f"{len(keys)} {what}: {_listed(keys)}" for what, keys in faults.items() if keys)
    )


def expected_shapes(variant: str, refiner: str) -> dict[str, tuple[int, ...]]:
    """Return the keys and shapes of a network's weights. Raise ValueError for an unknown variant or refiner."""
    with torch.device("meta"):
        network = MattingNetwork(variant, refiner)
    return {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}


def _shapes(state_dict: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in state_dict.items()}


def _listed(keys: list[str]) -> str:
    rest = len(keys) - _LISTED
    return ", ".join(keys[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")
