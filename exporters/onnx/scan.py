"""Describe what an ONNX file holds, without running it."""

from collections import Counter
from pathlib import Path

import onnx
from onnx import NodeProto, TensorProto

from exporters.onnx.load import messages, read_model
from exporters.support.contents import Contents

_STANDARD = ("", "ai.onnx")


def scan(path: Path) -> Contents:
    """Return its operations, also in branches. Custom is what ONNX does not define. Raises ArtifactError."""
    operations: Counter[str] = Counter()
    custom, external = set(), set()
    for message in messages(read_model(path)):
        if isinstance(message, NodeProto):
            standard = message.domain in _STANDARD
            name = message.op_type if standard else f"{message.domain}::{message.op_type}"
            operations[name] += 1
            if not standard or not onnx.defs.has(message.op_type):
                custom.add(name)
        if isinstance(message, TensorProto) and message.data_location == TensorProto.EXTERNAL:
            external.add(message.name)  # `read_model` refuses it already
    return Contents(operations=operations, custom=custom, external=external)
