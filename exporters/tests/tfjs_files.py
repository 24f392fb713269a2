"""The released TensorFlow.js model in other guises, as a user might give it, whole or spoiled."""

import json
import zipfile
from pathlib import Path

RELEASED = "official/tfjs"
SHARD = "group1-shard1of1.bin"


def copied(source, folder, change=None):
    """A folder with a copy of a model, and its model.json after `change`, which gets it parsed."""
    folder.mkdir()
    model = json.loads((source / "model.json").read_text())
    if change:
        change(model)
    (folder / "model.json").write_text(json.dumps(model))
    (folder / SHARD).write_bytes((source / SHARD).read_bytes())
    return folder


def zipped(source, path, top="", compression=zipfile.ZIP_DEFLATED):
    """A zip file of a folder's files, in a top folder where it gets a name."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(Path(source).iterdir()):
            archive.write(file, f"{top}/{file.name}" if top else file.name)
    return path


def without_space_to_batch(model):
    """Its three dilated convolutions said as such: WebGPU in TensorFlow.js has no SpaceToBatchND with computed pads."""
    nodes = {node["name"]: node for node in model["modelTopology"]["node"]}
    for after in nodes.values():
        if after["op"] == "BatchToSpaceND":
            convolution = nodes[after["input"][0]]
            before = nodes[convolution["input"][0]]
            convolution["attr"]["dilations"] = {"list": {"i": ["1", "2", "2", "1"]}}
            for node in (before, after):
                node.update(op="Identity", input=node["input"][:1], attr={"T": node["attr"]["T"]})
