"""The command `demo`: serve the page, or write it as a folder."""

import tempfile
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from exporters import load_exporter
from exporters.onnx import OnnxSpec
from rvm_model.weights.checkpoint import load_checkpoint
from tools.demo.serve import HOST, listening
from tools.demo.site import Site, open_site, write_site
from tools.shared.console import stderr_console, working
from tools.shared.outputs import OutputError, publish, refuse_existing
from tools.shared.stdout import print_result

_MARKS = ("index.html", "models.json", "service-worker.js")
"""Files by which a folder that this command wrote is recognised."""


def serve(models: Sequence[Path], port: int, show: bool) -> None:
    """Serve the page until Ctrl-C, and print its address on stdout.

    Args:
        models: Files or folders; without any, an ONNX file is exported first.
        port: 0 for any free port.
        show: Open the page in the browser.

    Raises:
        UserError: a model, a package or a port that cannot be used.
    """
    with _some(models) as given, open_site(given) as site, listening(site, port) as server:
        address = f"http://{HOST}:{server.server_address[1]}/"
        print_result(address)
        stderr_console().print("The page is there until Ctrl-C. What it sees stays in the browser.")
        if show:
            webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def write(models: Sequence[Path], folder: Path, force: bool) -> Path:
    """Write the page as a folder, and return its path.

    Raises:
        UserError: a model or a package that cannot be used, or an existing folder.
        ExportFailed: the folder could not be written.
    """
    _check(folder, force)
    with _some(models) as given, open_site(given) as site:
        _refuse_inputs(folder, given)
        _refuse_others(folder, site)
        publish(folder, lambda staged: _write(site, staged), lambda _: None, force)
    return folder


def _write(site: Site, staged: Path) -> None:
    staged.mkdir()
    write_site(site, staged)


def _check(folder: Path, force: bool) -> None:
    try:
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder} is a file; give a folder as --static")
        ours = folder.is_dir() and (not any(folder.iterdir()) or all((folder / mark).exists() for mark in _MARKS))
        if folder.is_dir() and not ours:
            raise OutputError(f"{folder} is a folder of something else, which is not replaced; give another --static")
        refuse_existing(folder, force)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror}; give another --static") from error


def _refuse_inputs(folder: Path, models: Sequence[Path]) -> None:
    """Raise OutputError if a folder that would be replaced holds one of the models."""
    for model in models:
        if folder.resolve() in (model.resolve(), *model.resolve().parents):
            raise OutputError(f"{folder} holds {model}, which it would replace; give another --static")


def _refuse_others(folder: Path, site: Site) -> None:
    """Raise OutputError if a folder that would be replaced holds more than the page, such as a git history."""
    ours = {PurePosixPath(address).parts[0] for address in site if address}
    others = sorted(path.name for path in folder.iterdir() if path.name not in ours) if folder.is_dir() else []
    if others:
        raise OutputError(
            f"{folder} holds {others[0]}, which is not of the page; give another --static, or move it away"
        )


@contextmanager
def _some(models: Sequence[Path]) -> Iterator[Sequence[Path]]:
    """Yield the given models, or an ONNX file of the default weights, which any browser runs."""
    if models:
        yield models
        return
    checkpoint = load_checkpoint("auto")
    # The options of the profile webgpu, so that both backends of the page run it.
    spec = OnnxSpec(variant=checkpoint.variant, refiner=checkpoint.refiner, precision="fp32", opset=17, ceil_free=True)
    with tempfile.TemporaryDirectory(prefix="rvm-export-") as folder:
        path = Path(folder) / spec.file_name(".onnx", checkpoint.seeded)
        console = stderr_console()
        with working(console, f"exporting {path.name}"):
            load_exporter("onnx").export(checkpoint, spec, path)
        console.print(f"No --model was given: the page has {path.name}, made for it and not verified.", soft_wrap=True)
        yield [path]
