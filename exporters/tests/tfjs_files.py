"""Edited copies of the released TensorFlow.js model, as a user might pass them, intact or damaged."""

import json
import zipfile
from pathlib import Path

RELEASED = "official/tfjs"
SHARD = "group1-shard1of1.bin"


def copied(source, folder, change=None):
    """Copy a model to a folder and return it. `change` gets the parsed model.json and may edit it."""
    folder.mkdir()
    model = json.loads((source / "model.json").read_text())
    if change:
        change(model)
    (folder / "model.json").write_text(json.dumps(model))
    (folder / SHARD).write_bytes((source / SHARD).read_bytes())
    return folder


def zipped(source, path, top="", compression=zipfile.ZIP_DEFLATED):
    """Write a folder's files to a zip file, in a top folder if `top` is set, and return it."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(Path(source).iterdir()):
            archive.write(file, f"{top}/{file.name}" if top else file.name)
    return path


def without_space_to_batch(model):
    """Rewrite three convolutions as dilated ones: WebGPU in TensorFlow.js has no SpaceToBatchND with computed pads."""
    nodes = {node["name"]: node for node in model["modelTopology"]["node"]}
    for after in nodes.values():
        if after["op"] == "BatchToSpaceND":
            convolution = nodes[after["input"][0]]
            before = nodes[convolution["input"][0]]
            convolution["attr"]["dilations"] = {"list": {"i": ["1", "2", "2", "1"]}}
            for node in (before, after):
                node.update(op="Identity", input=node["input"][:1], attr={"T": node["attr"]["T"]})
