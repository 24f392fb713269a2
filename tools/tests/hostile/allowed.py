"""List all that a command may open, write to, start and connect to, each with its reason. Nothing else is excused.

What a library does when it is imported, it does before it sees a file. The runner imports all libraries first, so that
`AT_START` is forbidden while a command runs.
"""

import os
import re
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tools.tests.hostile.home import CAPTURED, Home

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Place:
    """A file, or a folder with all that is in it."""

    path: str
    why: str


@dataclass(frozen=True)
class Program:
    """A program that is searched for in PATH, and its only arguments."""

    words: tuple[str, ...]
    why: str


READ = (
    Place("/usr", "programs, libraries, fonts, locales and time zones of the system"),
    Place("/lib", "libraries of the system"),
    Place("/lib64", "libraries of the system"),
    Place("/etc/ld.so.cache", "the loader's list of libraries"),
    Place("/etc/locale.alias", "names of locales, for libc"),
    Place("/etc/localtime", "the time zone, for libc"),
    Place("/etc/os-release", "onnxruntime, when it is imported, warns on old systems"),
    Place("/etc/ssl", "OpenSSL's settings and certificates, which Python's ssl and Node read when they start"),
    Place("/dev/null", "no input"),
    Place("/dev/urandom", "random numbers"),
    Place("/proc/cpuinfo", "which instructions there are"),
    Place("/proc/meminfo", "how much memory there is"),
    Place("/proc/stat", "how many processors there are"),
    Place("/proc/sys/vm", "how memory is given out, for allocators"),
    Place("/proc/driver/nvidia", "whether there is a GPU"),
    Place("/proc/self/auxv", "which instructions there are"),
    Place("/proc/self/cgroup", "which limits this process has"),
    Place("/proc/self/cmdline", "the process's own command line"),
    Place("/proc/self/cpuset", "which processors this process may use"),
    Place("/proc/self/maps", "where the process's own libraries are"),
    Place("/proc/self/mounts", "where the limits are to be read"),
    Place("/proc/self/status", "how much memory this process takes"),
    Place("/proc/self/task", "the list of the process's own threads"),
    Place("/proc/self/children", "the processes that this one started, for `patience`"),
    Place("/sys/bus", "processors, memory and devices of the machine"),
    Place("/sys/class", "devices of the machine"),
    Place("/sys/devices", "processors, memory and devices of the machine"),
    Place("/sys/fs/cgroup", "limits of memory and processors"),
    Place("/sys/kernel/mm", "huge pages, for allocators"),
)
"""Places of the machine that may be read at any time. `/proc/self/task/*/` counts as `/proc/self/`."""

WRITTEN = (
    Place("/dev/null", "no output"),
    Place("/proc/self/comm", "names of the process's own threads"),
)
"""Places of the machine that may be written to at any time."""

HOME = (
    Place(".cache", "caches, such as Matplotlib's list of fonts"),
    Place(".config/matplotlib", "Matplotlib makes the folder for its settings"),
    Place(".keras", "Keras, which TensorFlow imports, writes its settings once"),
    Place(".local/state/rvm-export", "the key of records, see `tools/jobs/seals.py`"),
    Place("numba", "code that Numba compiled, which it else keeps beside our module, see `play.variables`"),
)
"""Places in the user's home folder that may be written to."""

READ_AT_START = (
    Place("/etc/fonts", "Matplotlib asks fontconfig for the machine's fonts, once for a home folder"),
    Place("/var/cache/fontconfig", "the same"),
)

BY_OPEN = (Place("/proc/self/environ", "MKL, in PyTorch, reads its settings from the process's own environment"),)
"""Places that may be read by the system call `open`. Python, Node and libc use `openat`: it was none of them."""

PROGRAMS_AT_START = (
    Program(("uname", "-p"), "h5py, which TensorFlow imports, asks Python's `platform` for the processor"),
    Program(("fc-list", "--help"), "Matplotlib asks fontconfig for the machine's fonts, once for a home folder"),
    Program(("fc-list", "--format=%{file}\\n"), "the same"),
)


@cache
def programs() -> tuple[str, ...]:
    """Return the programs that commands start: Python for a format's worker, Node for TensorFlow.js and ONNX's."""
    found = [sys.executable, *(f"{folder}/node" for folder in os.get_exec_path())]
    return tuple({each for path in found for each in (path, os.path.realpath(path))})


@cache
def software() -> tuple[str, ...]:
    """Return the folders of our code and of the packages that it uses."""
    modules = [ROOT / "exporters" / name / "web" / "node_modules" for name in ("onnx", "tfjs")]
    imported = [Path(each).absolute() for each in sys.path]
    places = [ROOT, Path(sys.prefix), Path(sys.base_prefix), *modules, *imported]
    return tuple({str(each) for place in places for each in (place, place.resolve())})


def written(home: Home) -> tuple[str, ...]:
    """Return the places that a command may write to: its outputs, TMPDIR, folders in HOME, and what captures it."""
    captured = (home.root / name for name in CAPTURED)
    of_user = (home.user / each.path for each in HOME)
    return (*map(str, (home.outputs, home.unpacking, *of_user, *captured)), *(each.path for each in WRITTEN))


def read(home: Home) -> tuple[str, ...]:
    """Return the places that a command may read: those that it may write to, its inputs, software, the machine's."""
    return (*written(home), *map(str, (home.good, home.files, home.user)), *software(), *(each.path for each in READ))


def own(path: str, processes: Collection[str]) -> str:
    """Return a path in /proc with `self` in the place of a thread of ours."""
    match = re.fullmatch(r"/proc/(self|\d+)(?:/task/\d+)?(/.*)", path)
    return f"/proc/self{match[2]}" if match and match[1] in ("self", *processes) else path


def is_below(path: str, places: Sequence[str]) -> bool:
    """Return whether a path is one of the places, or in one."""
    return any(path == place or path.startswith(f"{place}/") for place in places)


def is_towards(path: str, places: Sequence[str]) -> bool:
    """Return whether a folder may be made: it is in one of the places, or one of them is in it."""
    return is_below(path, places) or any(place.startswith(f"{path}/") for place in places)


def is_ours(command: object) -> bool:
    """Return whether a command line, or its list of words, starts a program of ours."""
    if isinstance(command, (list, tuple)) and command:
        program = os.fsdecode(command[0])
        return program in programs() or os.path.realpath(program) in programs()
    return False


def is_of_start(program: str, words: Sequence[str]) -> bool:
    """Return whether a library may start a program when it is imported."""
    return any((Path(program).name, *words[1:]) == each.words for each in PROGRAMS_AT_START)


def is_local(address: object) -> bool:
    """Return whether an address is on this machine, where a runner's mirror of the checkpoints would be."""
    return isinstance(address, (str, bytes)) or (isinstance(address, tuple) and address[0] in ("127.0.0.1", "::1"))
