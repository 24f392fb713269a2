"""Find how much memory this process may use: the machine's, or its container's limit."""

import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

_OWN_GROUPS = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")


@cache
def memory_limit() -> int:
    """Return the bytes of memory that the machine has, or the smallest limit of a cgroup that this process is in.

    The first call reads it. A limit that changes later is not noticed.
    """
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_limits()])


def _limits() -> Iterator[int]:
    """Yield the limits of this process's cgroups and of those above them, in version 1 and 2."""
    with suppress(OSError):
        for line in _OWN_GROUPS.read_text().splitlines():
            _, controllers, place = line.split(":", 2)
            if not controllers:
                yield from _limits_of(_GROUPS, place, "memory.max")
            elif "memory" in controllers.split(","):
                yield from _limits_of(_GROUPS / "memory", place, "memory.limit_in_bytes")


def _limits_of(root: Path, place: str, name: str) -> Iterator[int]:
    # A container sees its own group as the root, but may read its path outside: missing folders are skipped.
    group = root / place.lstrip("/")
    for folder in (group, *group.parents):
        with suppress(OSError, ValueError):  # no such file, or "max" for no limit
            yield int((folder / name).read_text())
        if folder == root:
            return
