"""Draw 246 good exports from a seed: any size, any ratio, all formats. `verify` must pass all of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from exporters import FORMATS
from exporters.spec import COEFFICIENTS, ExportSpec, Fixed
from parity_tests.clips import Kind
from rvm_model.state import REFINERS, float32_size, internal_size

COUNT = 246
SEED = 2108
FRAMES, FEW_FRAMES = 16, 12
LARGE = 400_000
"""Frames with more pixels than this get a short clip."""

SMALLEST = 64
LARGE_SIZES = ((3840, 2160), (1920, 1080), (1919, 1079), (2559, 1441))

FEWEST_INSIDE = 16
"""Fewest pixels of the shorter internal side: r4 then has one pixel."""

COMMON_RATIOS = (0.25, 0.375, 0.4, 0.5, 0.6, 0.125)
TRAINED = ("from_tfjs", "from_coreml", "consensus_fp16")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A way to make a file, and the number of cases that use it.

    Args:
        count: Number of cases.
        format: Name of the format.
        precision: Precision of the file.
        one_size: Bake the size in.
        baked: Bake the ratio in, and take any size.
        whole: The internal size must be whole, as CoreML, LiteRT and ExecuTorch ask.
        options: More options of the spec.
        inside: Most pixels of the internal size, over all frames.
        full: Most pixels of a frame.
        least: Fewest pixels of a side. In smaller frames some weights find no person, which proves nothing.
        resnet50: Half of the seeded cases are ResNet50.
        sizes: The sizes to draw from, instead of any.
    """

    count: int
    format: str
    precision: str
    one_size: bool = False
    baked: bool = False
    whole: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    inside: int = 1_200_000
    full: int = 400_000
    least: int = SMALLEST
    resnet50: bool = False
    sizes: tuple[tuple[int, int], ...] = ()


RECIPES = (
    Recipe(count=32, format="torchscript", precision="fp32", inside=800_000, resnet50=True),
    Recipe(count=3, format="torchscript", precision="fp16", inside=80_000, full=60_000),
    Recipe(count=40, format="onnx", precision="fp32", resnet50=True),
    Recipe(count=5, format="onnx", precision="fp32", inside=1_600_000, sizes=LARGE_SIZES),
    Recipe(count=20, format="onnx", precision="fp32", one_size=True),
    Recipe(count=12, format="onnx", precision="fp32", options={"banded": True}),
    Recipe(count=8, format="onnx", precision="fp32", one_size=True, options={"banded": True}),
    Recipe(count=18, format="onnx", precision="fp16", inside=600_000),
    Recipe(count=6, format="onnx", precision="fp16", one_size=True, inside=600_000),
    Recipe(count=14, format="onnx", precision="int8"),
    Recipe(count=4, format="onnx", precision="int8", one_size=True),
    Recipe(count=16, format="tensorflow", precision="fp32", inside=600_000),
    Recipe(count=4, format="tfjs", precision="fp32", inside=120_000, full=80_000),
    Recipe(count=3, format="tfjs", precision="fp16", inside=120_000, full=80_000),
    Recipe(count=3, format="tfjs", precision="int8", inside=120_000, full=80_000),
    Recipe(count=4, format="coreml", precision="fp32", one_size=True, whole=True, inside=300_000, full=150_000),
    Recipe(count=4, format="coreml", precision="fp16", one_size=True, whole=True, inside=300_000, full=150_000),
    Recipe(count=4, format="coreml", precision="int8", one_size=True, whole=True, inside=300_000, full=150_000),
)


_LINE = {"outputs": COEFFICIENTS}

LATER_RECIPES = (
    Recipe(
        count=8, format="ncnn", precision="fp32", one_size=True, inside=300_000, full=150_000, least=120, resnet50=True
    ),
    Recipe(count=8, format="ncnn", precision="fp32", baked=True, inside=300_000, full=150_000, least=120),
    Recipe(count=4, format="ncnn", precision="fp16", baked=True, inside=300_000, full=150_000, least=120),
    Recipe(count=2, format="onnx", precision="fp32", options=_LINE),
    Recipe(count=2, format="onnx", precision="fp32", one_size=True, options=_LINE),
    Recipe(count=1, format="onnx", precision="fp16", inside=600_000, options=_LINE),
    Recipe(count=1, format="onnx", precision="int8", options=_LINE),
    Recipe(count=1, format="tfjs", precision="fp32", inside=120_000, full=80_000, options=_LINE),
    Recipe(count=1, format="tfjs", precision="int8", inside=120_000, full=80_000, options=_LINE),
    Recipe(count=1, format="coreml", precision="fp32", one_size=True, inside=300_000, full=150_000, options=_LINE),
    Recipe(count=1, format="coreml", precision="fp16", one_size=True, inside=300_000, full=150_000, options=_LINE),
    *(
        Recipe(count=count, format=name, precision=precision, one_size=True, whole=True, inside=300_000, full=150_000)
        for name, precision, count in (
            ("litert", "fp32", 4),
            ("litert", "fp16", 3),
            ("litert", "int8", 3),
            ("executorch", "fp32", 4),
            ("executorch", "fp16", 2),
        )
    ),
)
"""Recipes of formats and options that came later. They follow the others, whose cases stay what they are."""


@dataclass(frozen=True, kw_only=True)
class RandomCase:
    """One good export, and the clip to verify it on."""

    number: int
    recipe: Recipe
    variant: str
    refiner: str
    weights: str
    clip: Kind
    width: int
    height: int
    ratio: float
    frames: int

    def spec(self) -> ExportSpec:
        """Return the options of its file."""
        options = dict(self.recipe.options)
        if self.recipe.one_size:
            options["fixed"] = Fixed(width=self.width, height=self.height, ratio=self.ratio)
        if self.recipe.baked:
            options["ratio"] = self.ratio
        return FORMATS[self.recipe.format].spec(
            variant=self.variant, refiner=self.refiner, precision=self.recipe.precision, **options
        )


def random_cases(count: int = COUNT, seed: int = SEED) -> list[RandomCase]:
    """Return the cases of a seed, shuffled, so that the first few represent all of them."""
    random = Random(seed)  # noqa: S311 (nothing secret)
    recipes = [recipe for recipe in RECIPES for _ in range(recipe.count)]
    random.shuffle(recipes)
    recipes += [recipe for recipe in LATER_RECIPES for _ in range(recipe.count)]
    return [_drawn(random, number, recipe) for number, recipe in enumerate(recipes[:count])]


def _drawn(random: Random, number: int, recipe: Recipe) -> RandomCase:
    seeded = random.random() < 0.3
    resnet50 = seeded and recipe.resnet50 and random.random() < 0.5
    refiner = random.choice(REFINERS)
    weights = "seeded" if seeded else random.choice(TRAINED)
    clip: Kind = "builtin" if seeded or random.random() < 0.2 else "real"
    inside = recipe.inside // 6 if resnet50 else recipe.inside
    width, height = _size(random, recipe)
    while True:
        if not recipe.sizes:
            width, height = _size(random, recipe)
        ratio = _ratio(random)
        frames = FEW_FRAMES if width * height > LARGE else FRAMES
        if _fits(recipe, width, height, ratio, inside // frames):
            break
    return RandomCase(
        number=number,
        recipe=recipe,
        variant="resnet50" if resnet50 else "mobilenetv3",
        refiner=refiner,
        weights=weights,
        clip=clip,
        width=width,
        height=height,
        ratio=ratio,
        frames=frames,
    )


def _size(random: Random, recipe: Recipe) -> tuple[int, int]:
    """Draw width and height: log-uniform, a third of them portrait."""
    if recipe.sizes:
        width, height = random.choice(recipe.sizes)
    else:
        area = math.exp(random.uniform(2 * math.log(recipe.least), math.log(recipe.full)))
        aspect = math.exp(random.uniform(0, math.log(2.4)))
        width, height = (
            max(recipe.least, round(side)) for side in (math.sqrt(area * aspect), math.sqrt(area / aspect))
        )
    return (height, width) if random.random() < 1 / 3 else (width, height)


def _ratio(random: Random) -> float:
    """Draw 1, a common ratio, or a number of one to six digits."""
    what = random.random()
    if what < 0.15:
        return 1.0
    if what < 0.55:
        return random.choice(COMMON_RATIOS)
    return round(random.uniform(0.05, 1), random.randint(1, 6))


def _fits(recipe: Recipe, width: int, height: int, ratio: float, inside: int) -> bool:
    """Return whether the case is affordable and no rule refuses it."""
    if not 0 < ratio <= 1 or min(height, width) * ratio < FEWEST_INSIDE:
        return False
    size = internal_size(height, width, ratio)
    if size[0] * size[1] > inside or float32_size(height, width, ratio) != size:
        return False
    in_half = (recipe.format, recipe.precision) == ("executorch", "fp16")  # at ratio 1 these fail, see its page
    if ratio == 1 and (recipe.options.get("banded") or in_half):
        return False
    return not recipe.whole or ((height * ratio).is_integer() and (width * ratio).is_integer())
