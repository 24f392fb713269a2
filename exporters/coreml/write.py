"""The folder that a CoreML package is, written so that the same model gives the same bytes.

Apple's library gives its items random identifiers. Here they follow from what they name; and the manifest looks as that
library leaves it when it opens a package, so that opening one changes nothing.
"""

import json
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from exporters.coreml import MANIFEST

_AUTHOR = "com.apple.CoreML"
_ITEMS = {"model.mlmodel": "CoreML Model Specification", "weights": "CoreML Model Weights"}


def write_package(model: Path, folder: Path) -> None:
    """Move `model.mlmodel` and `weights` from a folder into a package, which must not be there."""
    data = folder / "Data" / _AUTHOR
    data.mkdir(parents=True)
    entries = {}
    for name, description in _ITEMS.items():
        (model / name).rename(data / name)
        entries[_identifier(name)] = {
            "author": _AUTHOR,
            "description": description,
            "name": name,
            "path": f"{_AUTHOR}/{name}",
        }
    manifest = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": entries,
        "rootModelIdentifier": _identifier("model.mlmodel"),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=4, sort_keys=True) + "\n")


def _identifier(name: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"{_AUTHOR}/{name}")).upper()
