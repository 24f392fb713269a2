"""Ways to spoil an ncnn model in a zip file: its graph. The hash is removed, so that only the graph itself can tell."""

from collections.abc import Callable
from random import Random

from exporters.ncnn import GRAPH, METADATA
from tools.tests.hostile.home import Home
from tools.tests.hostile.spoil_bytes import Mutation, names_of, repacked

ODD_NUMBERS = (
    "0",
    "-1",
    "3",
    "255",
    "65536",
    "2147483647",
    "-2147483648",
    "99999999999999999999",
    "0.5",
    "1e9",
    "nan",
    "x",
)
TYPES = (
    "Evil",
    "MemoryData",
    "Reshape",
    "Convolution",
    "Crop",
    "Interp",
    "Padding",
    "Slice",
    "Concat",
    "BinaryOp",
    "Split",
)


def change_number(lines: list[list[str]], random: Random) -> None:
    line = random.choice([each for each in lines if "=" in each[-1]])
    at = random.choice([k for k, word in enumerate(line) if "=" in word])
    key, _, value = line[at].partition("=")
    values = value.split(",")
    values[random.randrange(len(values))] = random.choice(ODD_NUMBERS)
    line[at] = f"{key}={','.join(values)}"


def change_key(lines: list[list[str]], random: Random) -> None:
    line = random.choice([each for each in lines if "=" in each[-1]])
    line[-1] = f"{random.choice((-23303, -1, 0, 5, 19, 30, 99999))}={line[-1].partition('=')[2]}"


def change_type(lines: list[list[str]], random: Random) -> None:
    random.choice(lines[2:])[0] = random.choice(TYPES)


def wire(lines: list[list[str]], random: Random) -> None:
    line, other = random.choice(lines[2:]), random.choice(lines[2:])
    line[min(4, len(line) - 1)] = random.choice((other[min(4, len(other) - 1)], "nowhere", "src", line[-1]))


def change_counts(lines: list[list[str]], random: Random) -> None:
    line = random.choice((lines[1], random.choice(lines[2:])))
    line[min(random.choice((0, 1, 2, 3)), len(line) - 1)] = random.choice(ODD_NUMBERS)


def drop_line(lines: list[list[str]], random: Random) -> None:
    del lines[random.randrange(len(lines))]


def repeat_line(lines: list[list[str]], random: Random) -> None:
    lines.insert(random.randrange(2, len(lines)), [*random.choice(lines[2:])])


def shorten(lines: list[list[str]], random: Random) -> None:
    line = random.choice(lines)
    del line[random.randrange(len(line)) :]


def on_graph(change: Callable[[list[list[str]], Random], None]) -> Mutation:
    """Return a mutation of a zip file that changes the words of the graph, and removes the metadata with its hash."""

    def mutate(content: bytes, random: Random, home: Home) -> bytes:
        def spoil(graph: bytes) -> bytes:
            lines = [line.split() for line in graph.decode().splitlines()]
            for _ in range(random.choice((1, 1, 3))):
                change(lines, random)
            return "\n".join([*map(" ".join, lines), ""]).encode()

        (root,) = {name.partition("/")[0] for name in names_of(content)}
        return repacked(content, {f"{root}/{GRAPH}": spoil, f"{root}/{METADATA}": lambda _: None})

    mutate.__name__ = change.__name__
    return mutate


NCNN: tuple[Mutation, ...] = tuple(
    map(
        on_graph,
        (change_number, change_number, change_key, change_type, wire, change_counts, drop_line, repeat_line, shorten),
    )
)
