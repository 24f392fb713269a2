"""ExecuTorch programs that ask for more than a network needs."""

from collections.abc import Callable

from exporters.tests.executorch_files import claimed_by, parts, place, put, rehashed
from tools.tests.hostile.constructions.construction import ESC, Build, Construction, copied, sparse
from tools.tests.hostile.home import Home

NAME = "model.pte"


def _program(change: Callable[[bytes], bytes]) -> Build:
    def build(home: Home) -> Construction:
        path = copied(home, NAME)
        content = path.read_bytes()
        path.write_bytes(rehashed(change(content), claimed_by(content)))
        return Construction("model", path)

    return build


def another_backend(content: bytes) -> bytes:
    return content.replace(b"XnnpackBackend", ESC.encode()[:14].ljust(14, b"!"), 1)


def values_of_terabytes(content: bytes) -> bytes:
    found = parts(content)
    for value in found.graph.tables(2):
        fields = value.table(1)
        assert fields is not None
        if not fields.number(3, "I"):
            begin, count = fields._vector(2, 4)
            for axis in range(count):
                content = put(content, found.graph_at + begin + 4 * axis, "I", 1 << 20)
    return content


def millions_of_tables(content: bytes) -> bytes:
    """Say that the graph has as many operations as its bytes hold offsets."""
    found = parts(content)
    begin, _ = found.graph._vector(1, 4)
    return put(content, found.graph_at + begin - 4, "I", 15_000)


def segment_of_everything(content: bytes) -> bytes:
    for segment in parts(content).program.tables(4):
        if segment.has(0):
            content = put(content, place(segment, 0), "Q", 0)
        content = put(content, place(segment, 1), "Q", len(content) - 100_000)
    return content


def kernels_beside(content: bytes) -> bytes:
    """Make the call of the piece a call of a kernel, whose number is that of the piece."""
    instruction = parts(content).method.tables(5)[0].tables(2)[0]
    return put(content, place(instruction, 0), "B", 1)


def metadata_that_terminals_act_on(content: bytes) -> bytes:
    return content.replace(b'"checkpoint": "seeded"', b'"checkpoint": "\x1b[2J  "', 1)


def hash_that_is_no_text(home: Home) -> Construction:
    path = copied(home, NAME)
    content = path.read_bytes()
    claimed = claimed_by(content).encode()
    path.write_bytes(content.replace(claimed, b"\\ud800" + claimed[6:], 1))
    return Construction("model", path)


def beyond_two_gigabytes(home: Home) -> Construction:
    return Construction("model", sparse(home.files / NAME, b"\x1c\0\0\0ET12"))


EXECUTORCH: dict[str, Build] = {
    "ExecuTorch for another backend": _program(another_backend),
    "ExecuTorch with values of terabytes": _program(values_of_terabytes),
    "ExecuTorch with more operations than it has": _program(millions_of_tables),
    "ExecuTorch with one segment for all": _program(segment_of_everything),
    "ExecuTorch with a kernel beside the piece": _program(kernels_beside),
    "ExecuTorch with metadata that terminals act on": _program(metadata_that_terminals_act_on),
    "ExecuTorch with a hash that is no text": hash_that_is_no_text,
    "ExecuTorch of 300 GB": beyond_two_gigabytes,
}
