"""Races over bytes: a frame's bytes go in, and its cut-out's bytes come out, by the renderers of `matte`.

A file of coefficients leaves the full-size steps to its caller. Its time includes them, from bytes to bytes. So every
contender of its race has the same ends.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.runtime import FileStep, Line, State
from parity_tests.judging.drift import Error
from rvm_model.rendering import FloatRenderer, FusedRenderer, Images, Look, Renderer
from tools.bench.race import Judge

_LOOK = Look(background=None, premultiplied=True, seconds=0)

Bytes = NDArray[np.uint8]


def cutout_step(step: FileStep, stage: Any) -> Callable[[Bytes, State], tuple[Bytes, State]]:
    """Return a step from a frame (1, H, W, 3) to its cut-out (H, W, 4), premultiplied.

    Args:
        step: The contender's own step, which begins at the first frame.
        stage: A `FusedStage` for a step that gives lines, else None.
    """
    state: State = None

    def play(src: Images) -> tuple[Images, Images]:
        nonlocal state
        given, state = step(src, state)
        first, second = (given.A, given.b) if isinstance(given, Line) else (given.fgr, given.pha)
        assert first is not None
        assert second is not None
        return first, second

    renderer: Renderer = FloatRenderer(play=play) if stage is None else FusedRenderer(play=play, stage=stage)

    def from_bytes(pixels: Bytes, _: State) -> tuple[Bytes, State]:
        (frame,) = pixels
        first, second = renderer.play(renderer.prepare(frame)[None])
        return renderer.pixels("composition", frame, (first[0], second[0]), _LOOK), None

    return from_bytes


def outputs_of(cutout: Bytes) -> dict[str, NDArray[np.float32]]:
    """Return premultiplied `fgr` and `pha` as a judge takes them."""
    image = cutout.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
    return {"fgr": image[:, :3], "pha": image[:, 3:]}


def judge_of_cutouts(judge: Judge, slack: float) -> Judge:
    """Return the judge of a contender's cut-outs. A premultiplied colour may be off by what both its factors may be.

    `slack` is the rounding of the cut-outs, which does not count.
    """
    fgr, pha = (judge.limits[name] for name in ("fgr", "pha"))
    both = Error(
        max_abs=fgr.max_abs + pha.max_abs,
        mean_abs=fgr.mean_abs + pha.mean_abs,
        high_abs=fgr.high_abs + pha.high_abs,
    )
    return replace(
        judge,
        expected=[{"fgr": frame["fgr"] * frame["pha"], "pha": frame["pha"]} for frame in judge.expected],
        limits={"fgr": both, "pha": pha},
        slack=2 * judge.slack + slack,
    )
