"""Deinterlace decoded frames with FFmpeg's bwdif, one frame for each: their number and timestamps stay."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Literal

import av
from av.filter import Graph

Deinterlace = Literal["auto", "off", "bwdif"]
"""`auto`: frames that the file declares interlaced. `bwdif`: all frames."""

_LEAST = 4
"""Fewest pixels a side for bwdif."""


class Deinterlacer:
    """A filter over the frames of one video. `noticed` tells whether an interlaced frame came by."""

    def __init__(self, mode: Deinterlace, time_base: Fraction):
        self.noticed = False
        self._mode, self._time_base = mode, time_base
        self._graph: Graph | None = None
        self._kind: tuple[int, int, str] | None = None

    def __call__(self, frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        """Yield the frames, deinterlaced from the first on that is interlaced."""
        for frame in frames:
            self.noticed = self.noticed or frame.interlaced_frame
            kind = frame.width, frame.height, frame.format.name
            if self._graph is not None and kind != self._kind:
                yield from self._rest()
            wanted = self._mode == "bwdif" or (self._mode == "auto" and frame.interlaced_frame)
            if self._graph is None and wanted and min(frame.width, frame.height) >= _LEAST:
                self._graph, self._kind = self._graph_for(frame), kind
            if self._graph is None:
                yield frame
            else:
                self._graph.vpush(frame)
                yield from self._pulled()
        yield from self._rest()

    def _graph_for(self, frame: av.VideoFrame) -> Graph:
        graph = Graph()
        buffer = graph.add(
            "buffer",
            video_size=f"{frame.width}x{frame.height}",
            pix_fmt=frame.format.name,
            time_base=str(self._time_base),
            colorspace=str(frame.colorspace),
            range=str(frame.color_range),
        )
        which = "interlaced" if self._mode == "auto" else "all"
        graph.link_nodes(buffer, graph.add("bwdif", f"mode=send_frame:deint={which}"), graph.add("buffersink"))
        graph.configure()
        return graph

    def _rest(self) -> Iterator[av.VideoFrame]:
        """Yield the frames that are still in the filter, and end it."""
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._pulled()
            self._graph = None

    def _pulled(self) -> Iterator[av.VideoFrame]:
        assert self._graph is not None
        while True:
            try:
                frame = self._graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return
            if frame.pts is not None and frame.time_base is not None:  # the filter counts in half units
                frame.pts = round(frame.pts * frame.time_base / self._time_base)
                frame.time_base = self._time_base
            yield frame
