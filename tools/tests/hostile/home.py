"""Folders of one runner: all that its commands may read and write, and one file that they must not touch."""

from dataclasses import dataclass
from pathlib import Path

SECRET = "secret.bin"
"""The file in `outside` that nothing may open."""

ESCAPED = "escaped"
"""A file that appears somewhere if a name in an archive is trusted, or the code in a file runs."""

CAPTURED = ("out", "err")
"""Files that get a command's stdout and stderr."""


@dataclass(frozen=True)
class Home:
    """Paths below `root`. Commands may write only into `unpacking`, `outputs` and `user`, and read only from `files`.

    `good` holds the good files, `files` the hostile ones of the moment. `user` is the home folder of the user.
    """

    root: Path

    @property
    def good(self) -> Path:
        return self.root / "good"

    @property
    def files(self) -> Path:
        return self.root / "files"

    @property
    def outside(self) -> Path:
        return self.root / "outside"

    @property
    def secret(self) -> Path:
        return self.outside / SECRET

    @property
    def escaped(self) -> Path:
        return self.root / ESCAPED

    @property
    def unpacking(self) -> Path:
        return self.root / "tmp"

    @property
    def outputs(self) -> Path:
        return self.root / "outputs"

    @property
    def user(self) -> Path:
        return self.root / "user"

    @property
    def writable(self) -> tuple[Path, ...]:
        return self.unpacking, self.outputs, self.user

    def make(self) -> None:
        """Make the folders and the secret."""
        for folder in (self.files, self.outside, self.outputs, *self.writable):
            folder.mkdir(parents=True, exist_ok=True)
        self.secret.touch()
