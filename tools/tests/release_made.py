"""Records and manifests of a release for single files, without making a whole release."""

import hashlib
import json
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

from exporters import FORMATS, describe
from exporters.support.licence import LICENCE, SOURCE
from parity_tests.clips import builtin_clip, load_clip
from rvm_model import load_checkpoint
from tools.companions.describe import parity_of
from tools.companions.entry import Tensor
from tools.companions.versions import tools_of
from tools.release.build import Built
from tools.release.manifest import VERSION, Manifest, ReleasedFile, Weights
from tools.release.scan import scan_file
from tools.shared.prove import prove

SHA = 64 * "0"


@cache
def proved(path: Path):
    """Return the real proof of an ONNX file, with figures and picture."""
    return prove(describe(path), load_checkpoint("seeded"), load_clip(None, 16))


@cache
def built_of(path: Path, name: str, onnx_path: Path) -> Built:
    """Return the record of a seeded file of any format, with the ONNX file's figures, which are quick to get."""
    artifact, proof = describe(path), proved(onnx_path)
    options = {"fixed": artifact.fixed} if artifact.fixed else {}
    options |= {"ratio": artifact.ratio} if artifact.ratio else {}
    options |= {"zip": True} if name in ("coreml", "ncnn", "openvino") else {}
    options |= {"stateful": True} if artifact.metadata.get("stateful") == "yes" else {}
    options |= {"contract": artifact.facts["contract"]} if "contract" in artifact.facts else {}
    spec = FORMATS[name].spec(
        variant="mobilenetv3", refiner="deep_guided_filter", precision=artifact.precision, **options
    )

    def tensors(infos):
        return tuple(Tensor(name=each.name, dtype=each.dtype, shape=each.shape) for each in infos)

    entry = ReleasedFile(
        file=path.name,
        bytes=path.stat().st_size,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        format=name,
        spec=json.loads(json.dumps(asdict(spec))),
        checkpoint_sha256=SHA,
        weights_sha256=SHA,
        licence=LICENCE,
        tools=tools_of(name),
        inputs=tensors(artifact.inputs),
        outputs=tensors(artifact.outputs),
        parity=tuple(map(parity_of, proof.reports)),
        scan=scan_file(path, name),
    )
    reports = tuple(replace(report, artifact=Path(path.name)) for report in proof.reports)
    return Built(key=SHA, entry=entry, reports=reports, picture=proof.picture)


def manifest_of(*built: Built, **changes) -> Manifest:
    given = {
        "manifest": VERSION,
        "name": "rvm-export",
        "version": "1.0.0",
        "licence": LICENCE,
        "source": SOURCE,
        "checkpoints": {"mobilenetv3": Weights(origin="seeded", sha256=SHA, weights_sha256=SHA)},
        "artifacts": tuple(each.entry for each in built),
    }
    return Manifest(**given | changes)


def clip_frames(count, width, height):
    """Return NCHW frames in [0, 1] of the built-in clip."""
    return [*builtin_clip(16, width, height)][:count]
