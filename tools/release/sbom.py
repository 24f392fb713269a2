"""`sbom.cdx.json`, the release's CycloneDX bill of materials: models, weights, tools, and measured figures.

The same manifest gives the same bytes: there is no date in it, and no random serial number.
"""

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6

from rvm_model.files import read_file
from tools.companions.entry import Parity, Tensor
from tools.release.files import SBOM
from tools.release.manifest import Manifest, ReleasedFile, Weights

PAPER = "https://arxiv.org/abs/2108.11515"
OURS = "rvm-export"

_MOST_BYTES = 8_000_000
_BY_PARTS = ("components", "metadata")
_OF_LIBRARY = ("$schema", "specVersion")
"""The keys of a bill of materials that another version of the library may write otherwise."""


def to_sbom(manifest: Manifest) -> str:
    """Return the bill of materials as JSON text, CycloneDX 1.6."""
    release = _release(manifest)
    weights = {variant: _weights(variant, each, manifest.licence) for variant, each in manifest.checkpoints.items()}
    tools = {pair: _tool(*pair) for entry in manifest.artifacts for pair in entry.tools.items()}
    files = [_file(entry) for entry in manifest.artifacts]
    bom = Bom(
        metadata=BomMetaData(component=release, tools=ToolRepository(components=_ours(tools))),
        components=[*weights.values(), *tools.values(), *files],
    )
    bom.register_dependency(release, [*weights.values(), *files])
    for component, entry in zip(files, manifest.artifacts, strict=True):
        made_of = [each for variant, each in weights.items() if variant == entry.spec.get("variant")]
        bom.register_dependency(component, [*made_of, *(tools[pair] for pair in entry.tools.items())])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that nothing depends on anything, in a release without files
        text = json.loads(JsonV1Dot6(bom).output_as_string())
    del text["serialNumber"], text["metadata"]["timestamp"]
    # The library has no model cards yet.
    cards = {entry.file: _model_card(entry) for entry in manifest.artifacts}
    for component in text["components"]:
        if component["name"] in cards:
            component["modelCard"] = cards[component["name"]]
    return json.dumps(text, indent=2, ensure_ascii=False) + "\n"


def disagreements(path: Path, manifest: Manifest) -> Iterator[str]:
    """Yield a sentence for each component, or other part, of a bill of materials that is not as the manifest has it."""
    try:
        found = json.loads(read_file(path, _MOST_BYTES))
        given = _facts(found)
    except OSError as error:
        yield f"{SBOM} cannot be read: {error.strerror}"
        return
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        yield f"{SBOM} is no CycloneDX bill of materials of a release: {type(error).__name__}"
        return
    wanted = json.loads(to_sbom(manifest))
    try:
        expected = _facts(wanted)
    except ValueError as error:
        yield f"the manifest gives no bill of materials: {error}"
        return
    for name in sorted({*given, *expected}):
        if name not in given:
            yield f"{SBOM} lacks {name}, which is in the manifest"
        elif name not in expected:
            yield f"{SBOM} lists {name}, which is not in the manifest"
        elif wrong := _differing(given[name], expected[name]):
            yield f"{SBOM} disagrees with the manifest: {', '.join(wrong)} of {name}"
    if wrong := [key for key in _differing(found, wanted) if key not in (*_BY_PARTS, *_OF_LIBRARY)]:
        yield f"{SBOM} disagrees with the manifest: {', '.join(wrong)}"


def _differing(given: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    return sorted(key for key in {*given, *expected} if given.get(key) != expected.get(key))


def _facts(bom: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the components by name and version, the release's own first."""
    components = [bom["metadata"]["component"], *bom["components"]]
    named = {" ".join(filter(None, (str(each["name"]), each.get("version")))): dict(each) for each in components}
    if len(named) < len(components):
        raise ValueError("it lists a component twice")
    return named


def _release(manifest: Manifest) -> Component:
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=manifest.name,
        version=manifest.version,
        bom_ref="release",
        licenses=[LicenseExpression(manifest.licence)],
        external_references=[
            ExternalReference(type=ExternalReferenceType.VCS, url=XsUri(manifest.source)),
            ExternalReference(type=ExternalReferenceType.DOCUMENTATION, url=XsUri(PAPER)),
        ],
    )


def _weights(variant: str, weights: Weights, licence: str) -> Component:
    """Return the checkpoint that a variant's files are made of."""
    return Component(
        type=ComponentType.DATA,
        name=f"weights of {variant}",
        bom_ref=f"weights:{variant}",
        hashes=[_sha256(weights.sha256)],
        licenses=[LicenseExpression(licence)],
        properties=_properties({"origin": weights.origin, "weights_sha256": weights.weights_sha256}),
    )


def _tool(name: str, version: str) -> Component:
    return Component(
        type=ComponentType.APPLICATION if name in (OURS, "python", "node") else ComponentType.LIBRARY,
        name=name,
        version=version,
        bom_ref=f"tool:{name}@{version}",
    )


def _ours(tools: Iterable[tuple[str, str]]) -> list[Component]:
    return [
        Component(type=ComponentType.APPLICATION, name=name, version=version)
        for name, version in sorted({*tools})
        if name == OURS
    ]


def _file(entry: ReleasedFile) -> Component:
    facts = {key: entry.spec.get(key) for key in ("variant", "refiner", "precision")}
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=entry.file,
        bom_ref=f"file:{entry.file}",
        hashes=[_sha256(entry.sha256)],
        licenses=[LicenseExpression(entry.licence)],
        properties=_properties(
            {"format": entry.format, **facts, "bytes": entry.bytes, "weights_sha256": entry.weights_sha256}
        ),
    )


def _sha256(digest: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest)


def _properties(values: Mapping[str, Any]) -> list[Property]:
    return [Property(name=f"{OURS}:{name}", value=str(value)) for name, value in values.items()]


def _model_card(entry: ReleasedFile) -> dict[str, Any]:
    return {
        "modelParameters": {
            "task": "video matting",
            "architectureFamily": "recurrent convolutional network",
            "modelArchitecture": f"Robust Video Matting, {entry.spec.get('variant')}",
            "inputs": [{"format": _tensor(each)} for each in entry.inputs],
            "outputs": [{"format": _tensor(each)} for each in entry.outputs],
        },
        "quantitativeAnalysis": {
            "performanceMetrics": [metric for parity in entry.parity for metric in _metrics(parity)]
        },
    }


def _tensor(tensor: Tensor) -> str:
    return f"{tensor.name}: {tensor.dtype} ({', '.join(map(str, tensor.shape))})"


def _metrics(parity: Parity) -> Iterator[dict[str, str]]:
    played = (
        f"{parity.clip}, {parity.frames} frames, {parity.width}x{parity.height}, downsample ratio "
        f"{parity.downsample_ratio:g}, in {parity.runtime}"
    )
    played = f"{parity.function}: {played}" if parity.function else played
    for name, errors in parity.outputs.items():
        for kind, value in (("largest", errors.max_abs), ("mean", errors.mean_abs)):
            yield {"type": f"{kind} absolute error of {name} against PyTorch", "value": repr(value), "slice": played}
    for name, value in (("MAD", parity.alpha.mad), ("MSE", parity.alpha.mse), ("dtSSD", parity.alpha.dtssd)):
        yield {"type": f"{name} of the alpha against PyTorch", "value": repr(value), "slice": played}
