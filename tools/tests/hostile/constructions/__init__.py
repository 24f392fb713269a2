"""Hostile constructions: each a small function that writes an attack into a folder, and says what opens it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from tools.tests.hostile.constructions.archives import ARCHIVES
from tools.tests.hostile.constructions.construction import Build, Construction
from tools.tests.hostile.constructions.executorch import EXECUTORCH
from tools.tests.hostile.constructions.folders import FOLDERS
from tools.tests.hostile.constructions.litert import LITERT
from tools.tests.hostile.constructions.media import MEDIA
from tools.tests.hostile.constructions.models import MODELS
from tools.tests.hostile.constructions.names import NAMES
from tools.tests.hostile.constructions.places import PLACES
from tools.tests.hostile.constructions.releases import RELEASES
from tools.tests.hostile.constructions.weights import WEIGHTS
from tools.tests.hostile.home import Home

CONSTRUCTIONS: dict[str, Build] = {
    **PLACES,
    **ARCHIVES,
    **MODELS,
    **FOLDERS,
    **WEIGHTS,
    **MEDIA,
    **NAMES,
    **RELEASES,
    **EXECUTORCH,
    **LITERT,
}
"""All constructions, by what they are."""


@contextmanager
def written(name: str, home: Home) -> Iterator[Construction]:
    """Yield a construction while it exists. It may have files in `files`, `outside` and `outputs`."""
    try:
        yield CONSTRUCTIONS[name](home)
    finally:
        for folder in (home.files, home.outside, home.outputs):
            shutil.rmtree(folder)
        home.escaped.unlink(missing_ok=True)
        home.make()
