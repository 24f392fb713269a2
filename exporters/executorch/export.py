"""Export the lowered program as an ExecuTorch program: converted by its own tools, then given a hash of itself."""

import json
from importlib.metadata import version
from pathlib import Path

from exporters.executorch import ExecutorchSpec
from exporters.executorch.convert import Request, convert
from exporters.layers import SEGMENTATION
from exporters.lowering.folding import separate_convs
from exporters.support.metadata import identity, release
from exporters.support.own_metadata import HASH, UNHASHED, hashed
from rvm_model.state import state_shapes
from rvm_model.weights.checkpoint import Checkpoint


def export(checkpoint: Checkpoint, spec: ExecutorchSpec, path: Path) -> None:
    """Write the file. See `exporters.runtime.Exporter`."""
    assert spec.fixed is not None
    height, width, ratio = spec.fixed.height, spec.fixed.width, spec.fixed.ratio
    metadata = identity(
        checkpoint,
        spec,
        **spec.fixed.metadata(),
        executorch_version=release(version("executorch")),
        torch_version=release(version("torch")),
        **{HASH: UNHASHED},
    )
    convs = separate_convs(checkpoint.network())
    del convs[SEGMENTATION]
    content = convert(
        Request(
            convs=convs,
            ratio=ratio,
            shapes=((1, 3, height, width), *state_shapes(spec.variant, height, width, ratio)),
            precision=spec.precision,
            metadata=json.dumps(metadata, indent=1).encode(),
        )
    )
    path.write_bytes(hashed(content))
