"""The content of the page: every address that it may request, and the file or bytes there."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from exporters import describe, recognise
from exporters.artifact import Artifact, ArtifactError
from exporters.support.archive import unpacked
from exporters.support.node import require_packages
from exporters.tfjs import MODEL
from rvm_model.files import read_file
from rvm_model.printable import printable

PAGE = Path(__file__).parent / "page"
_EXPORTERS = Path(__file__).parents[2] / "exporters"

Site = Mapping[str, Path | bytes]
"""Addresses relative to the page, with `/` between folders, and the file or the bytes at each."""

_ORT = "onnxruntime-web/dist"
_TENSORFLOW = "@tensorflow"
LIBRARIES = {
    "onnx": (
        f"{_ORT}/ort.wasm.min.mjs",
        f"{_ORT}/ort-wasm-simd-threaded.mjs",
        f"{_ORT}/ort-wasm-simd-threaded.wasm",
        f"{_ORT}/ort.webgpu.min.mjs",
        f"{_ORT}/ort-wasm-simd-threaded.asyncify.mjs",
        f"{_ORT}/ort-wasm-simd-threaded.asyncify.wasm",
    ),
    "tfjs": (
        f"{_TENSORFLOW}/tfjs/dist/tf.es2017.min.js",
        f"{_TENSORFLOW}/tfjs-backend-wasm/dist/tf-backend-wasm.es2017.min.js",
        f"{_TENSORFLOW}/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm",
        f"{_TENSORFLOW}/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm",
        f"{_TENSORFLOW}/tfjs-backend-wasm/dist/tfjs-backend-wasm-threaded-simd.wasm",
        f"{_TENSORFLOW}/tfjs-backend-webgpu/dist/tf-backend-webgpu.es2017.min.js",
    ),
}
"""By format: the files of the Node packages in `exporters/<format>/web` that the page serves under `lib/`."""

HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Allows compiling WebAssembly, and the threads that TensorFlow.js starts from a blob of its own script.
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' blob:; "
    "worker-src 'self' blob:; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every answer.

The first two make the page cross-origin isolated, without which WebAssembly has no threads.
"""


@contextmanager
def open_site(models: Sequence[Path]) -> Iterator[Site]:
    """Yield the page with these models. Unpacked files are removed afterwards.

    Args:
        models: TensorFlow.js or ONNX files of ours, or TensorFlow.js folders.

    Raises:
        ArtifactError: a model that cannot be read, has another format, or cannot be shown by the page.
        MissingPackage: the Node packages that run a model are not installed.
    """
    artifacts = [_inspect(path) for path in models]
    site: dict[str, Path | bytes] = {file.name: file for file in PAGE.iterdir() if file.is_file()}
    site["rvm.js"] = _EXPORTERS / "tfjs" / "rvm.js"
    for name in ("full_size.js", "full_size_webgpu.js"):
        site[name] = _EXPORTERS / "support" / "web" / name
    site["headers.js"] = f"const HEADERS = {json.dumps(HEADERS, indent=2)};\n".encode()
    for name in sorted({artifact.format for artifact in artifacts}):
        site |= _libraries(name)
    with ExitStack() as stack:
        entries = []
        for k, artifact in enumerate(artifacts):
            folder = stack.enter_context(unpacked(artifact.path, MODEL)) if artifact.format == "tfjs" else None
            files = _tfjs_files(folder) if folder else {"model.onnx": artifact.path}
            address = f"models/{k}"
            site |= {f"{address}/{name}": content for name, content in files.items()}
            entries.append(_entry(artifact, f"{address}/{next(iter(files))}", sum(map(_bytes, files.values()))))
        site["models.json"] = json.dumps(entries, indent=2).encode()
        yield site


def write_site(site: Site, folder: Path) -> None:
    """Write the page as a folder that any web server can serve."""
    for address, content in site.items():
        path = folder / address
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            shutil.copyfile(content, path)


def _inspect(path: Path) -> Artifact:
    """Inspect a model. Raise ArtifactError if the page cannot show it."""
    if recognise(path) not in LIBRARIES:
        raise ArtifactError(f"{path} is of a format that browsers do not run; give a TensorFlow.js or ONNX file")
    artifact = describe(path)
    if artifact.facts.get("control flow") == "yes":
        raise ArtifactError(f"{path} was written by another converter; give a TensorFlow.js model of rvm-export's")
    if "pha" not in artifact.mattes:
        raise ArtifactError(f"{path} was made without pha, which the page draws with; give another file")
    if artifact.fixed is not None and artifact.fixed.batch != 1:
        raise ArtifactError(f"{path} was made for a batch of {artifact.fixed.batch}; give one for a batch of 1")
    return artifact


def _libraries(name: str) -> dict[str, Path]:
    folder = _EXPORTERS / name / "web"
    require_packages(folder)
    files = [folder / "node_modules" / file for file in LIBRARIES[name]]
    return {f"lib/{file.name}": file for file in files}


def _tfjs_files(folder: Path) -> dict[str, Path | bytes]:
    """Return model.json and its files of weights, which `inspect` has checked to lie in the folder.

    They are called 0.bin, 1.bin, ... and are named so in model.json. By its own name, such as evil.html, a web server
    would serve one as a page, which has the rights of this one.
    """
    model = json.loads(read_file(folder / MODEL))
    shards: dict[str, Path | bytes] = {}
    for group in model["weightsManifest"]:
        paths = [folder / name for name in group["paths"]]
        names = [f"{k}.bin" for k in range(len(shards), len(shards) + len(paths))]
        shards |= zip(names, paths, strict=True)
        group["paths"] = names
    return {MODEL: json.dumps(model).encode(), **shards}


def _bytes(content: Path | bytes) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _entry(artifact: Artifact, address: str, size: int) -> dict[str, Any]:
    """Return the facts about a model of `size` bytes for the page."""
    fixed = artifact.fixed
    return {
        "name": printable(artifact.path.resolve().name),
        "address": address,
        "bytes": size,
        "format": artifact.format,
        "variant": artifact.variant,
        "refiner": artifact.refiner,
        "precision": artifact.precision,
        "fixed": fixed and {"width": fixed.width, "height": fixed.height, "ratio": fixed.ratio},
        "inputs": {each.name: {"dtype": each.dtype, "shape": each.shape} for each in artifact.inputs},
        "outputs": [each.name for each in artifact.outputs],
        "facts": dict(artifact.facts),
        "metadata": {printable(key): printable(value) for key, value in artifact.metadata.items()},
    }
