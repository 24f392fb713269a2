"""Play PyTorch over a clip once for all files of a command: the truth, and the yardstick's error."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from parity_tests.clips import Clip
from parity_tests.compare import FrameOutputs
from parity_tests.judging.drift import DriftTally, Error
from parity_tests.judging.yardstick import Player

MOST_BYTES = 1 << 30
"""Most memory for truths: twelve frames at 1920x1080. A longer or larger clip is played again for the next file."""

Units = dict[str, Error]
"""The yardstick's error by output."""


@dataclass(kw_only=True)
class References:
    """A cache of truths and of yardsticks' errors. The key is content: weights, arithmetic, clip, size, ratio."""

    most_bytes: int = MOST_BYTES
    _truths: dict[tuple[object, ...], list[FrameOutputs]] = field(default_factory=dict)
    _units: dict[tuple[object, ...], tuple[Units, Mapping[str, float]]] = field(default_factory=dict)

    def play(
        self,
        truth: Player,
        yardstick: Player,
        clip: Clip,
        ratio: float,
        sampled: float,
        device: str,
        on_frame: Callable[[int], object] = lambda _: None,
    ) -> "Played":
        """Return the truth, to be iterated over once. The yardstick's errors are set after the last frame.

        Args:
            truth: See `yardstick.truth`.
            yardstick: See `yardstick.yardstick`.
            clip: The clip to play.
            ratio: See `Player.play`.
            sampled: See `Player.play`.
            device: `cpu` or `cuda`.
            on_frame: Called with each frame's number before it is played.
        """
        where = (clip.digest, ratio, sampled, device)
        played = Played()
        played.frames = self._frames(played, truth, yardstick, clip, where, on_frame)
        return played

    def _frames(
        self,
        played: "Played",
        truth: Player,
        yardstick: Player,
        clip: Clip,
        where: tuple[str, float, float, str],
        on_frame: Callable[[int], object],
    ) -> Iterator[FrameOutputs]:
        _, ratio, sampled, device = where
        known, measured = self._truths.get((truth.key, where)), self._units.get((truth.key, yardstick.key, where))
        frames = known if known is not None else truth.play(clip, ratio, sampled, device)
        own = None if measured is not None else yardstick.play(clip, ratio, sampled, device)
        tallies: dict[str, DriftTally] = {}
        kept: list[FrameOutputs] | None = [] if known is None else None
        for number, expected in enumerate(frames):
            on_frame(number)
            if own is not None:
                given = next(own)
                for name in expected:
                    tallies.setdefault(name, DriftTally()).add(expected[name], given[name])
            if kept is not None and _bytes(expected) * len(clip) <= self.most_bytes:
                kept.append(expected)
            else:
                kept = None
            yield expected
        if own is not None:
            measured = {name: tally.drift() for name, tally in tallies.items()}, yardstick.saturated
            self._units[truth.key, yardstick.key, where] = measured
        if kept is not None:
            self._keep((truth.key, where), kept)
        assert measured is not None
        played.units, played.saturated = measured

    def _keep(self, key: tuple[object, ...], frames: list[FrameOutputs]) -> None:
        """Keep a truth, and drop the oldest ones until the rest fit."""
        self._truths[key] = frames
        while sum(_bytes(each) for kept in self._truths.values() for each in kept) > self.most_bytes:
            del self._truths[next(iter(self._truths))]


def _bytes(outputs: FrameOutputs) -> int:
    return sum(array.nbytes for array in outputs.values())


@dataclass(kw_only=True)
class Played:
    """The result of a play: `frames`, the truth; after the last frame also the yardstick's `units` and `saturated`."""

    frames: Iterator[FrameOutputs] = field(default_factory=lambda: iter(()))
    units: Units | None = None
    saturated: Mapping[str, float] = field(default_factory=dict)


REFERENCES = References()
"""The references that all commands of this process share."""
