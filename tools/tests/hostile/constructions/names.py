"""Files whose names lead outside, act on a terminal, or are no text."""

import os
import shutil
from pathlib import Path

from tools.tests.hostile.constructions.construction import ESC, Build, Construction
from tools.tests.hostile.home import Home

_KINDS = {".onnx": ("model.onnx", "onnx"), ".pth": ("weights.pth", "weights"), ".mp4": ("video.mp4", "video")}


def _named(name: bytes, kind: str | None = None) -> Build:
    """Give a good file a name; its last suffix says which."""

    def build(home: Home) -> Construction:
        source, usual = _KINDS[Path(os.fsdecode(name)).suffix or ".mp4"]
        path = home.files / os.fsdecode(name)
        shutil.copy(home.good / source, path)
        return Construction(kind or usual, path)

    return build


def _damaged(name: str, kind: str) -> Build:
    """Give a file that nothing can read a name, which the error must show."""

    def build(home: Home) -> Construction:
        (home.files / name).write_bytes(b"no file of any kind")
        return Construction(kind, home.files / name)

    return build


def folder_of_pictures(home: Home) -> Construction:
    path = home.files / os.fsdecode(b"clip \xff\xfe" + ESC.replace("/", "").encode())
    shutil.copytree(home.good / "clip", path)
    return Construction("pictures", path)


def release(home: Home) -> Construction:
    path = home.files / os.fsdecode(b"release \xff\xfe" + ESC.encode())
    shutil.copytree(home.good / "release", path)
    return Construction("release", path)


def missing(home: Home) -> Construction:
    return Construction("onnx", home.files / os.fsdecode(b"not there \xff" + ESC.encode() + b".onnx"))


NAMES: dict[str, Build] = {
    "a clip named ...mp4": _named(b"...mp4", "name"),
    "a clip named ..": _damaged("....mp4", "name"),
    "a clip named {name}.mp4": _named(b"{name}.mp4", "name"),
    "a clip named %d.mp4": _named(b"%d.mp4", "name"),
    "a clip named like a server": _named(b"http:127.0.0.1.mp4"),
    "a clip named like a pattern": _named(b"concat:a|b.mp4"),
    "a model with a name that is no text": _named(b"x\xff\xfe.onnx"),
    "weights with a name that is no text": _named(b"x\xff\xfe.pth"),
    "a clip with a name that is no text": _named(b"x\xff\xfe.mp4"),
    "a clip to a name that is no text": _named(b"x\xff\xfe.mp4", "name"),
    "a model with a name that terminals act on": _named(f"x{ESC}\r\n.onnx".encode()),
    "weights with a name that terminals act on": _named(f"x{ESC}\r\n.pth".encode()),
    "a clip with a name that terminals act on": _named(f"x{ESC}\r\n.mp4".encode()),
    "a clip to a name that terminals act on": _named(f"x{ESC}\r\n.mp4".encode(), "name"),
    "a damaged model with a name that terminals act on": _damaged(f"x{ESC}\n.onnx", "onnx"),
    "damaged weights with a name that terminals act on": _damaged(f"x{ESC}\n.pth", "weights"),
    "a damaged clip with a name that terminals act on": _damaged(f"x{ESC}\n.mp4", "video"),
    "a damaged picture with a name that terminals act on": _damaged(f"x{ESC}\n.png", "picture"),
    "a model with a name of 255 letters": _named(b"x" * 250 + b".onnx"),
    "a clip to a name of 255 letters": _named(b"x" * 251 + b".mp4", "name"),
    "pictures in a folder with a name that is no text": folder_of_pictures,
    "a release in a folder with a name that is no text": release,
    "a missing model with a name that is no text": missing,
}
