"""The licence of the network, its weights, and every exported file. Nothing heavy is imported."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

LICENCE = "GPL-3.0-or-later"
SOURCE = "https://github.com/PeterL1n/RobustVideoMatting"

_ROOT = Path(__file__).resolve().parents[2]


def licence_text() -> str:
    """Return the text of the GNU General Public License, version 3, as this project carries it."""
    if (_ROOT / "pyproject.toml").is_file():  # a checkout; elsewhere a LICENSE here would be a stranger's
        return (_ROOT / "LICENSE").read_text(encoding="utf-8")
    try:
        text = distribution("rvm-export").read_text("licenses/LICENSE")
    except PackageNotFoundError:
        text = None
    if text is None:
        raise FileNotFoundError("the text of the licence is not installed beside rvm-export")
    return text
