"""Give a finished file or folder its final name. Until then it lies under a hidden one on the same disk."""

import errno
import os
from contextlib import suppress
from pathlib import Path

_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


def move_new(staged: Path, path: Path) -> None:
    """Move a file or folder to a name that is free. Looking first would not do: another process may take the name.

    An empty folder of that name is replaced. Where a disk has no hard links, a file that appears in the last
    microseconds is replaced.

    Raises:
        FileExistsError: the name is taken.
        OSError: the disk fails.
    """
    try:
        if staged.is_dir():
            staged.rename(path)  # replaces no file, and no folder that holds something
        else:
            _link(staged, path)
    except OSError as error:
        if error.errno in _TAKEN and os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        raise


def move_over(staged: Path, path: Path, aside: Path) -> None:
    """Move a file or folder to a name, and replace what has it.

    A folder cannot replace another. The old one is first moved to `aside`, where it is left, and moved back if the
    replacement fails.

    Raises:
        OSError: the disk fails.
    """
    if not path.is_dir():
        staged.replace(path)
        return
    try:
        path.replace(aside)
        staged.replace(path)
    except BaseException:
        if aside.exists():
            aside.replace(path)
        raise


def _link(staged: Path, path: Path) -> None:
    """Rename a file, but never over another: POSIX has no such call, but a hard link does not replace anything."""
    try:
        os.link(staged, path)
    except FileExistsError:
        raise
    except OSError:
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        staged.rename(path)
        return
    with suppress(OSError):  # its folder is removed, or the caller removes it
        staged.unlink()
