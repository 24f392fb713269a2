"""Read the weights of a .pt2 file, which has the network's own names. Nothing of it runs."""

from exporters.artifact import Artifact
from exporters.pt2.archive import read_archive
from exporters.recovery.dataflow import Dataflow


def dataflow(artifact: Artifact) -> Dataflow:
    """Return the weights of the file by name. Raises ArtifactError if it is damaged."""
    nothing: dict[str, str] = {}
    named = dict(read_archive(artifact.path).weights)
    return Dataflow(nodes=(), inputs=nothing, outputs=frozenset(), constants={}, named=named)
