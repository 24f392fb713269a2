"""Check that no output overwrites an input or another output."""

from collections.abc import Sequence
from pathlib import Path

from rvm_model.video.colour import VideoError


def check_places(inputs: Sequence[Path], outputs: Sequence[Path]) -> None:
    """Check the paths of inputs and outputs: files, or folders of pictures, which are replaced as a whole.

    Raises:
        VideoError: an output is an input, contains one, or lies in an input folder, where the next run would read it;
            or two outputs are the same, or one lies in the other.
    """
    read = {path: _real(path) for path in inputs}
    written: dict[Path, Path] = {}
    for output in outputs:
        place = _real(output)
        if not place.name:
            raise VideoError(f"{str(output)!r} is no name for an output; give a file's or a folder's")
        for path, real in read.items():
            if place == real or place in real.parents:
                raise VideoError(f"{output} would overwrite {path}, which is read; give another place")
            if real == place.parent and real.is_dir():
                raise VideoError(f"{output} lies in {path}, which is read; give another place")
        for other, real in written.items():
            if place == real or place in real.parents or real in place.parents:
                raise VideoError(f"{output} and {other} would overwrite each other; give each output its own place")
        written[output] = place


def _real(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads to itself
        raise VideoError(f"cannot use {path}: {getattr(error, 'strerror', None) or error}") from error
