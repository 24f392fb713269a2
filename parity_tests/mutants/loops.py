"""The wrong loops."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from exporters.runtime import Frame, Matte, State, Step
from parity_tests.mutants.mutant import GRAPHS, TRAINED, Mutant
from parity_tests.mutants.replayed import Replayed

TENTH = 10


def stale_every_tenth(step: Step) -> Step:
    count, before = 0, None

    def wrong(frame: Frame, state: State) -> tuple[Matte, State]:
        nonlocal count, before
        count += 1
        used, before = (before if count % TENTH == 0 else state), state
        return step(frame, used)

    return wrong


def never_fed_back(step: Step) -> Step:
    return lambda frame, state: step(frame, None)  # noqa: ARG005 (which is the defect)


def forgotten_once(step: Step) -> Step:
    count = 0

    def wrong(frame: Frame, state: State) -> tuple[Matte, State]:
        nonlocal count
        count += 1
        return step(frame, None if count == TENTH else state)

    return wrong


def one_frame_late(step: Step) -> Step:
    shown: Matte | None = None

    def wrong(frame: Frame, state: State) -> tuple[Matte, State]:
        nonlocal shown
        matte, state = step(frame, state)
        late, shown = shown or matte, matte
        return late, state

    return wrong


def repeated_every_tenth(step: Step) -> Step:
    count, shown = 0, None

    def wrong(frame: Frame, state: State) -> tuple[Matte, State]:
        nonlocal count, shown
        count += 1
        matte, state = step(frame, state)
        if count % TENTH == 0 and shown is not None:
            matte = shown
        shown = matte
        return matte, state

    return wrong


def swapped_entries(step: Step) -> Step:
    """Swap the clips of a batch. The states must be PyTorch tensors."""

    def wrong(frame: Frame, state: State) -> tuple[Matte, State]:
        matte, state = step(frame, state)
        return matte, [tensor.flip(0) for tensor in state]

    return wrong


def swapped_halves(step: Step) -> Step:
    """Swap the halves of r2's channels. The states must be PyTorch tensors."""

    def wrong(frame: Frame, state: State) -> tuple[Matte, State]:
        matte, (r1, r2, r3, r4) = step(frame, state)
        return matte, [r1, r2.roll(r2.shape[1] // 2, 1), r3, r4]

    return wrong


def seen(change: Callable[[Frame], Frame]) -> Callable[[Step], Step]:
    """Change the frame that the network sees."""

    def wrong(step: Step) -> Step:
        return lambda frame, state: step(np.ascontiguousarray(change(frame), np.float32), state)

    return wrong


def shown(change: Callable[[Matte], Matte]) -> Callable[[Step], Step]:
    """Change the matte."""

    def wrong(step: Step) -> Step:
        def changed(frame: Frame, state: State) -> tuple[Matte, State]:
            matte, state = step(frame, state)
            return change(matte), state

        return changed

    return wrong


def with_alpha(change: Callable[[Frame], Frame]) -> Callable[[Step], Step]:
    """Change alpha."""

    def changed(matte: Matte) -> Matte:
        assert matte.pha is not None
        return replace(matte, pha=np.asarray(change(matte.pha), np.float32))

    return shown(changed)


def as_it_is(step: Step) -> Step:
    return step


LOOPS = (
    Mutant(
        name="stale_state_every_tenth_frame",
        why="Every tenth frame gets the states that the frame before got.",
        defect=Replayed(stale_every_tenth),
        formats=GRAPHS,
    ),
    Mutant(name="states_not_fed_back", why="Every frame is the first.", defect=Replayed(never_fed_back)),
    Mutant(
        name="states_forgotten_once",
        why="The tenth frame is a first one.",
        defect=Replayed(forgotten_once),
        formats=("onnx",),
    ),
    Mutant(name="one_frame_late", why="The matte of the frame before is given.", defect=Replayed(one_frame_late)),
    Mutant(
        name="frame_repeated",
        why="The tenth matte is the ninth again.",
        defect=Replayed(repeated_every_tenth),
        formats=("onnx",),
    ),
    Mutant(
        name="state_halves_swapped",
        why="The halves of r2's channels change places between frames.",
        defect=Replayed(swapped_halves),
        formats=("torchscript",),
    ),
    Mutant(
        name="states_of_other_clip",
        why="Of two clips played side by side, each gets the other's states.",
        defect=Replayed(swapped_entries),
        formats=("torchscript",),
        play=replace(TRAINED, batch=2),
    ),
    Mutant(
        name="source_bgr",
        why="The source's channels come in OpenCV's order.",
        defect=Replayed(seen(lambda frame: frame[:, ::-1])),
        formats=GRAPHS,
    ),
    Mutant(
        name="source_over_256",
        why="The source's levels are divided by 256, not by 255.",
        defect=Replayed(seen(lambda frame: frame * np.float32(255 / 256))),
        formats=("onnx",),
    ),
    Mutant(
        name="source_254",
        why="The source is scaled by 254/255.",
        defect=Replayed(seen(lambda frame: frame * np.float32(254 / 255))),
        formats=("onnx",),
    ),
    Mutant(
        name="source_truncated",
        why="The source has seven bits.",
        defect=Replayed(seen(lambda frame: np.floor(frame * np.float32(127.5)) / np.float32(127.5))),
        formats=("onnx",),
    ),
    Mutant(
        name="source_one_pixel_off",
        why="The source is moved by one pixel to the right.",
        defect=Replayed(seen(lambda frame: np.roll(frame, 1, axis=3))),
        formats=("onnx",),
    ),
    Mutant(
        name="source_linear_light",
        why="The source is brought to linear light first.",
        defect=Replayed(seen(lambda frame: frame ** np.float32(2.2))),
        formats=("onnx",),
    ),
    Mutant(
        name="alpha_truncated",
        why="Alpha is cut off to 8 bits, not rounded.",
        defect=Replayed(with_alpha(lambda pha: np.floor(pha * np.float32(255)) / np.float32(255))),
    ),
    Mutant(
        name="alpha_gamma",
        why="Alpha is encoded as sRGB is.",
        defect=Replayed(with_alpha(lambda pha: pha ** np.float32(1 / 2.2))),
        formats=("onnx",),
    ),
    Mutant(
        name="alpha_threshold",
        why="Alpha below 1/255 is 0.",
        defect=Replayed(with_alpha(lambda pha: np.where(pha < 1 / 255, np.float32(0), pha))),
        formats=("onnx",),
    ),
    Mutant(
        name="foreground_bgr",
        why="The foreground's channels come in OpenCV's order.",
        defect=Replayed(shown(lambda matte: replace(matte, fgr=np.ascontiguousarray(matte.fgr[:, ::-1])))),  # type: ignore[index]
        formats=("onnx",),
    ),
    Mutant(
        name="ratio_off",
        why="The ratio is a thousand float32 steps too large, at the same internal size.",
        defect=Replayed(as_it_is, ratio=1 + 1000 * 2.0**-23),
        formats=GRAPHS,
    ),
)
