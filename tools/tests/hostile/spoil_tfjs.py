"""Ways to spoil a TensorFlow.js model: its graph, its list of weights, its signature."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

from tools.tests.hostile.home import SECRET, Home
from tools.tests.hostile.spoil_bytes import Mutation

ODD_FLOATS = (0.0, -1.0, float("nan"), float("inf"), 1e308, 1e-308)


def wire(model: Any, random: Random) -> None:
    nodes = model["modelTopology"]["node"]
    node = random.choice([each for each in nodes if each.get("input")])
    node["input"][random.randrange(len(node["input"]))] = random.choice((*[each["name"] for each in nodes], "nowhere"))


def shorten(model: Any, random: Random) -> None:
    node = random.choice([each for each in model["modelTopology"]["node"] if each.get("input")])
    del node["input"][random.randrange(len(node["input"])) :]


def rename_operation(model: Any, random: Random) -> None:
    node = random.choice(model["modelTopology"]["node"])
    node["op"] = random.choice(
        ("", "Nonsense", "While", "PyFunc", "Conv2D", "SpaceToBatchND", "Const", "Relu6", "Identity")
    )


def change_attribute(model: Any, random: Random) -> None:
    node = random.choice([each for each in model["modelTopology"]["node"] if each.get("attr")])
    key = random.choice([*node["attr"]])
    node["attr"][key] = random.choice(
        ({}, {"i": "x"}, {"list": {"i": ["-1"] * 4}}, {"s": "%%%"}, {"f": "nan"}, None, 7, [])
    )


def change_stored(model: Any, random: Random) -> None:
    weight = random.choice(model["weightsManifest"][0]["weights"])
    weight["quantization"] = random.choice(
        (
            {"dtype": "uint8", "scale": random.choice(ODD_FLOATS), "min": random.choice(ODD_FLOATS)},
            {"dtype": "float16"},
            {"dtype": "uint8"},
            {"dtype": "complex64", "scale": 1, "min": 0},
            {"dtype": "uint8", "scale": "x", "min": None},
            [],
        )
    )


def change_shape(model: Any, random: Random) -> None:
    weight = random.choice(model["weightsManifest"][0]["weights"])
    weight["shape"] = random.choice(([2**40], [-1], [], [1, 1, 1, 1, 1], [2**31, 2**31, 4], ["3"], None, [1.5]))


def change_signature(model: Any, random: Random) -> None:
    side = random.choice(("inputs", "outputs"))
    key = random.choice([*model["signature"][side]])
    model["signature"][side][key]["name"] = random.choice(("", "nowhere:0", "src:0", 7, None))


def change_shards(model: Any, random: Random) -> None:
    """Name other files as the shards of the weights: outside, on a server, of another kind, none."""
    group = model["weightsManifest"][0]
    places = (
        f"../../outside/{SECRET}",
        f"/outside/{SECRET}",
        "http://127.0.0.1:9/x.bin",
        ".",
        "",
        "model.json",
        "\x00",
    )
    group["paths"] = random.choice(([random.choice(places)], [*group["paths"], random.choice(places)], [], None, "x"))


def drop(model: Any, random: Random) -> None:
    place = random.choice((model, model["modelTopology"], random.choice(model["modelTopology"]["node"])))
    del place[random.choice([*place])]


def on_model(change: Callable[[Any, Random], None]) -> Mutation:
    """Return a mutation of a model.json that changes the parsed model."""

    def mutate(content: bytes, random: Random, home: Home) -> bytes:
        model = json.loads(content)
        change(model, random)
        return json.dumps(model).encode()

    mutate.__name__ = change.__name__
    return mutate


TFJS: tuple[Mutation, ...] = tuple(
    map(
        on_model,
        (
            wire,
            shorten,
            rename_operation,
            change_attribute,
            change_stored,
            change_shape,
            change_shards,
            change_signature,
            drop,
        ),
    )
)
