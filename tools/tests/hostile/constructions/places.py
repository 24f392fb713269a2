"""Something else in the place of a file: pipes, devices, links, folders, files of 300 GB."""

import os
from collections.abc import Callable
from pathlib import Path

from tools.tests.hostile.constructions.construction import (
    HUGE,
    Build,
    Construction,
    copied,
    model_of,
    released,
    sparse,
)
from tools.tests.hostile.home import Home

ZERO = "/dev/zero"
_KINDS = {
    "x.onnx": "onnx",
    "x.torchscript": "model",
    "x.pt2": "model",
    "x.zip": "model",
    "x.mlmodel": "model",
    "x.pth": "weights",
    "x.safetensors": "weights",
    "x.png": "picture",
    "x.jpg": "picture",
    "x.mp4": "video",
}
_SHARD = "group1-shard1of1.bin"
_BLOB = "Data/com.apple.CoreML/weights/weight.bin"
_VARIABLES = "variables/variables.data-00000-of-00001"


def _named(home: Home, name: str) -> tuple[str, Path]:
    return _KINDS[name], home.files / name


def _pipe(name: str) -> Build:
    def pipe(home: Home) -> Construction:
        kind, path = _named(home, name)
        os.mkfifo(path)
        return Construction(kind, path)

    return pipe


def _device(name: str) -> Build:
    def device(home: Home) -> Construction:
        kind, path = _named(home, name)
        path.symlink_to(ZERO)
        return Construction(kind, path)

    return device


def _sparse(name: str, head: bytes = b"") -> Build:
    def huge(home: Home) -> Construction:
        kind, path = _named(home, name)
        return Construction(kind, sparse(path, head))

    return huge


def _folder(name: str) -> Build:
    def folder(home: Home) -> Construction:
        kind, path = _named(home, name)
        path.mkdir()
        return Construction(kind, path)

    return folder


def link_loop(home: Home) -> Construction:
    (home.files / "x.onnx").symlink_to("x.onnx")
    return Construction("onnx", home.files / "x.onnx")


def picture_link_loop(home: Home) -> Construction:
    (home.files / "x.png").symlink_to("x.png")
    return Construction("picture", home.files / "x.png")


# In folders.


def _put(path: Path, what: str, home: Home) -> None:
    """Put a pipe, device, folder or huge file in the place of a file, or a link to its content outside."""
    if what == "link":
        home.secret.write_bytes(path.read_bytes())
    places: dict[str, Callable[[Path], object]] = {
        "pipe": os.mkfifo,
        "device": lambda each: each.symlink_to(ZERO),
        "folder": lambda each: each.mkdir(),
        "huge": sparse,
        "link": lambda each: each.symlink_to(home.secret),
    }
    path.unlink(missing_ok=True)
    places[what](path)


def _in_folder(kind: str, folder: str, file: str, what: str) -> Build:
    def build(home: Home) -> Construction:
        path = copied(home, folder)
        _put(path / file, what, home)
        return Construction(kind, path)

    return build


def folder_of_links(home: Home) -> Construction:
    """Replace a whole folder of a SavedModel by a link."""
    path = copied(home, "savedmodel")
    (path / "variables").rename(home.outside / "variables")
    (path / "variables").symlink_to(home.outside / "variables")
    return Construction("model", path)


def folder_of_linked_videos(home: Home) -> Construction:
    home.secret.write_bytes((home.good / "video.mp4").read_bytes())
    path = home.files / "videos"
    path.mkdir()
    (path / "x.mp4").symlink_to(home.secret)
    return Construction("pictures", path)


# In releases.


def _in_release(name: str, what: str) -> Build:
    def build(home: Home) -> Construction:
        return released(home, lambda folder: _put(folder / name if name else model_of(folder), what, home))

    return build


PLACES: dict[str, Build] = {
    **{f"a pipe named {name}": _pipe(name) for name in ("x.onnx", "x.pth", "x.safetensors", "x.png", "x.mp4")},
    **{f"/dev/zero named {name}": _device(name) for name in ("x.onnx", "x.pth", "x.safetensors", "x.jpg", "x.mp4")},
    **{f"a folder named {name}": _folder(name) for name in ("x.onnx", "x.pth", "x.png", "x.mp4")},
    f"an ONNX file of {HUGE >> 30} GB": _sparse("x.onnx", b"\x08\x08\x12\x0arvm-export"),
    f"a zip file of {HUGE >> 30} GB": _sparse("x.zip", b"PK\3\4"),
    f"a CoreML file of {HUGE >> 30} GB": _sparse("x.mlmodel", b"\x08\x04\x12\x00"),
    f"a .pth file of {HUGE >> 30} GB": _sparse("x.pth", b"PK\3\4"),
    f"a .pt2 file of {HUGE >> 30} GB": _sparse("x.pt2", b"PK\3\4"),
    f"a safetensors file of {HUGE >> 30} GB": _sparse("x.safetensors", b"\xff" * 5),
    f"a PNG file of {HUGE >> 30} GB": _sparse("x.png", b"\x89PNG\r\n\x1a\n"),
    f"an MP4 file of {HUGE >> 30} GB": _sparse("x.mp4", b"\0\0\0\x08ftyp"),
    "a link to itself": link_loop,
    "a picture that is a link to itself": picture_link_loop,
    "a TensorFlow.js shard that is a pipe": _in_folder("tfjs", "tfjs", _SHARD, "pipe"),
    "a TensorFlow.js shard that is /dev/zero": _in_folder("tfjs", "tfjs", _SHARD, "device"),
    "a TensorFlow.js shard that is a folder": _in_folder("tfjs", "tfjs", _SHARD, "folder"),
    "a TensorFlow.js shard that is a link outside": _in_folder("tfjs", "tfjs", _SHARD, "link"),
    "a TensorFlow.js shard of 300 GB": _in_folder("tfjs", "tfjs", _SHARD, "huge"),
    "a TensorFlow.js model.json that is a link outside": _in_folder("tfjs", "tfjs", "model.json", "link"),
    "a TensorFlow.js model.json of 300 GB": _in_folder("tfjs", "tfjs", "model.json", "huge"),
    "a TensorFlow.js folder with a stranger of 300 GB": _in_folder("tfjs", "tfjs", "stranger.bin", "huge"),
    "a SavedModel's graph that is a pipe": _in_folder("model", "savedmodel", "saved_model.pb", "pipe"),
    "a SavedModel's weights that are a link outside": _in_folder("model", "savedmodel", _VARIABLES, "link"),
    "a SavedModel's weights that are /dev/zero": _in_folder("model", "savedmodel", _VARIABLES, "device"),
    "a SavedModel's weights in a folder that is a link outside": folder_of_links,
    "a SavedModel with a stranger of 300 GB": _in_folder("model", "savedmodel", "assets.extra/x", "huge"),
    "a CoreML package's weights that are a link outside": _in_folder("model", "model.mlpackage", _BLOB, "link"),
    "a CoreML package's weights that are a pipe": _in_folder("model", "model.mlpackage", _BLOB, "pipe"),
    "a CoreML package with a stranger of 300 GB": _in_folder("model", "model.mlpackage", "Data/x", "huge"),
    "a picture in a folder that is a pipe": _in_folder("pictures", "clip", "7.png", "pipe"),
    "a picture in a folder that is /dev/zero": _in_folder("pictures", "clip", "7.png", "device"),
    "a picture in a folder that is a folder": _in_folder("pictures", "clip", "7.png", "folder"),
    "a picture in a folder that is a link outside": _in_folder("pictures", "clip", "7.png", "link"),
    "a video in a folder that is a link outside": folder_of_linked_videos,
    "a picture in a folder of 300 GB": _in_folder("pictures", "clip", "7.png", "huge"),
    "a manifest that is a pipe": _in_release("manifest.json", "pipe"),
    "a manifest that is /dev/zero": _in_release("manifest.json", "device"),
    "a manifest that is a folder": _in_release("manifest.json", "folder"),
    "a manifest of 300 GB": _in_release("manifest.json", "huge"),
    "a manifest that is a link outside": _in_release("manifest.json", "link"),
    "sums that are a pipe": _in_release("SHA256SUMS", "pipe"),
    "sums that are /dev/zero": _in_release("SHA256SUMS", "device"),
    "sums that are a link outside": _in_release("SHA256SUMS", "link"),
    "a released file that is a pipe": _in_release("", "pipe"),
    "a released file that is /dev/zero": _in_release("", "device"),
    "a released file that is a link outside": _in_release("", "link"),
    "a released file of 300 GB": _in_release("", "huge"),
    "a report of 300 GB": _in_release("report.html", "huge"),
}
