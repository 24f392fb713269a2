"""Files that go with a model to those who use it: its card, and frames to check an integration with."""

from pathlib import Path

GOLDEN = "golden.npz"


def card_of(path: Path) -> Path:
    """Return the path of a model's card."""
    return path.with_name(f"{path.name}.md")
