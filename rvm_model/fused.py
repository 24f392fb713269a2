"""The full-size steps of `full_size.py` as one pass over bytes each, compiled for the CPU by numba.

A row of the result needs two rows of A and b. They are brought to full width once and kept for the rows between, so
that the rest is a straight run over memory. A row in between holds red, green and blue of every pixel, then the mean or
the alpha of every pixel: so three of four values need no shuffling.

numba compiles on first use, which takes seconds, and keeps the result in its cache on disk.
"""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numba
import numpy as np
from numpy.typing import NDArray

from rvm_model.state import internal_size

Output = Literal["matte", "composition", "cutout", "premultiplied", "alpha", "foreground"]

_ROWS = 8
"""Rows that are finished before they are written as pixels: few enough to stay in a core's own cache."""

Floats = NDArray[np.float32]

_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    # All but the reordering of sums: results must not depend on the width of the processor's registers.
    "fastmath": {"contract", "nnan", "ninf", "nsz"},
}


def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    """Compile when it is first called. Where no cache can be written, each process compiles again."""
    try:
        compiled: Callable[..., None] = numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:
        compiled = numba.njit(**_OPTIONS)(function)
    return compiled


@dataclass(frozen=True, kw_only=True, eq=False)
class _Axis:
    """Where the pixels of a resized axis lie: between two pixels of the other one, at a share of their distance."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    share: Floats


def _axis(length: int, sampled: int, scale: float) -> _Axis:
    """Return an axis of `length` pixels that samples one of `sampled`, as PyTorch does without aligned corners."""
    at = np.maximum(scale * (np.arange(length) + 0.5) - 0.5, 0)
    first = np.minimum(at.astype(np.int64), sampled - 1)
    return _Axis(first=first, second=np.minimum(first + 1, sampled - 1), share=(at - first).astype(np.float32))


class FusedStage:
    """The full-size steps for frames of one size and ratio, on a number of threads.

    Raises:
        ValueError: the ratio is outside (0, 1], or leaves no pixel.
    """

    def __init__(self, height: int, width: int, downsample_ratio: float, threads: int = 1) -> None:
        self.size = height, width
        self.internal = internal_size(height, width, downsample_ratio)
        h, w = self.internal
        self._reduce = _axis(h, height, 1 / downsample_ratio), _axis(w, width, 1 / downsample_ratio)
        self._enlarge = _axis(height, h, h / height), _axis(width, w, w / width)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads)

    def reduce(self, pixels: NDArray[Any]) -> Floats:
        """Return (3, h, w) in [0, 1] of a frame (H, W, 3), uint8 or uint16."""
        pixels = np.ascontiguousarray(pixels)
        if self.internal == self.size:
            small = pixels.transpose(2, 0, 1).astype(np.float32)
            return small / np.float32(np.iinfo(pixels.dtype).max)
        small = np.empty((3, *self.internal), np.float32)
        rows, columns = self._reduce
        unit = np.float32(1 / np.iinfo(pixels.dtype).max)

        def work(begin: int, end: int) -> None:
            _reduce_rows(
                begin, end, pixels, unit, rows.first, rows.second, rows.share, columns.first, columns.second,
                columns.share, small,
            )  # fmt: skip

        self._in_blocks(self.internal[0], work)
        return small

    def finish(
        self, kind: Output, pixels: NDArray[Any], A: Floats, b: Floats, background: Floats | None = None
    ) -> NDArray[Any]:
        """Bring a line to full size, apply it to the frame, and return the pixels of one output.

        Args:
            kind: `matte` is foreground and alpha, (4, H, W) float32. The others are pixels of the frame's dtype:
                `composition` (H, W, 3) over the background; `cutout` (H, W, 4), straight alpha, black where it is 0;
                `premultiplied` (H, W, 4); `alpha` (H, W); `foreground` (H, W, 3).
            pixels: The frame, (H, W, 3) uint8 or uint16.
            A: The slope, (4, h, w).
            b: The offset, (4, h, w).
            background: For `composition`, (3, H, W) or (3, 1, 1) in [0, 1].
        """
        height, width = self.size
        pixels = np.ascontiguousarray(pixels).reshape(height, 3 * width)
        most = np.float32(np.iinfo(pixels.dtype).max)
        lines = np.ascontiguousarray(np.stack([A, b]).transpose(2, 0, 1, 3))  # (h, 2, 4, w)
        channels, write = _WRITERS[kind]
        out = np.empty((height, channels * width), np.float32 if kind == "matte" else pixels.dtype)
        behind = _rows_of(background, width) if kind == "composition" else None
        rows, columns = self._enlarge

        def work(begin: int, end: int) -> None:
            wide, held = np.empty((2, 2, 4 * width), np.float32), np.full(2, -1)
            matte = np.empty((_ROWS, 4 * width), np.float32)
            for y in range(begin, end, _ROWS):
                some = slice(y, min(y + _ROWS, end))
                _finish_rows(
                    pixels[some], 1 / most, lines, rows.first[some], rows.second[some], rows.share[some],
                    columns.first, columns.second, columns.share, wide, held, matte,
                )  # fmt: skip
                if behind is None:
                    write(matte, most, out[some])
                else:
                    write(matte, most, out[some], behind[some] if len(behind) > 1 else behind)

        self._in_blocks(height, work)
        if kind == "matte":
            fgr = out[:, : 3 * width].reshape(height, width, 3).transpose(2, 0, 1)
            return np.concatenate([fgr, out[None, :, 3 * width :]])
        return out if kind == "alpha" else out.reshape(height, width, -1)

    def _in_blocks(self, rows: int, work: Callable[[int, int], None]) -> None:
        bounds = [rows * k // self._threads for k in range(self._threads + 1)]
        for each in [self._pool.submit(work, *block) for block in itertools.pairwise(bounds)]:
            each.result()


def _rows_of(background: Floats | None, width: int) -> Floats:
    """Return a background as rows of pixels, or as one row that serves for all."""
    assert background is not None
    wide = np.broadcast_to(background, (3, background.shape[1], width))
    return np.ascontiguousarray(wide.transpose(1, 2, 0)).reshape(-1, 3 * width)


@_compiled
def _reduce_rows(begin, end, pixels, unit, y0, y1, wy, x0, x1, wx, small):  # type: ignore[no-untyped-def]
    """Fill rows of the reduced frame."""
    for y in range(begin, end):
        above, below, v = pixels[y0[y]], pixels[y1[y]], wy[y]
        for x in range(small.shape[2]):
            for c in range(3):
                left = np.float32(above[x0[x], c]) * unit
                up = left + wx[x] * (np.float32(above[x1[x], c]) * unit - left)
                left = np.float32(below[x0[x], c]) * unit
                down = left + wx[x] * (np.float32(below[x1[x], c]) * unit - left)
                small[c, y, x] = up + v * (down - up)


@_compiled
def _finish_rows(  # type: ignore[no-untyped-def]
    pixels, unit, lines, y0, y1, wy, x0, x1, wx, wide, held, matte
):
    """Fill rows of the matte. `held` are the rows of the line that the halves of `wide` have."""
    x = np.empty(matte.shape[1], np.float32)
    for y in range(len(pixels)):
        for row in (y0[y], y1[y]):
            if held[row & 1] != row:
                held[row & 1] = row
                _widen(lines[row], x0, x1, wx, wide[row & 1])
        _guide(pixels[y], unit, wx.size, x)
        _apply(wide[y0[y] & 1], wide[y1[y] & 1], wy[y], x, matte[y])


@_compiled
def _widen(line, x0, x1, wx, wide):  # type: ignore[no-untyped-def]
    """Bring one row of A and b to full width."""
    width = wx.size
    for k in range(2):
        for x in range(width):
            for c in range(3):
                left = line[k, c, x0[x]]
                wide[k, 3 * x + c] = left + wx[x] * (line[k, c, x1[x]] - left)
            left = line[k, 3, x0[x]]
            wide[k, 3 * width + x] = left + wx[x] * (line[k, 3, x1[x]] - left)


@_compiled
def _guide(pixels, unit, width, x):  # type: ignore[no-untyped-def]
    """Fill a row with red, green and blue of every pixel, then the mean of every pixel."""
    for i in range(3 * width):
        x[i] = np.float32(pixels[i]) * unit
    for i in range(width):
        x[3 * width + i] = (x[3 * i] + x[3 * i + 1] + x[3 * i + 2]) * np.float32(1 / 3)


@_compiled
def _apply(above, below, share, x, matte):  # type: ignore[no-untyped-def]
    """Apply the line between two wide rows to a row of the guide."""
    for i in range(matte.size):
        A = above[0, i] + share * (below[0, i] - above[0, i])
        b = above[1, i] + share * (below[1, i] - above[1, i])
        matte[i] = min(max(A * x[i] + b, np.float32(0)), np.float32(1))


@_compiled
def _write_composition(matte, most, out, behind):  # type: ignore[no-untyped-def]
    width = matte.shape[1] // 4
    spread = np.empty(3 * width, np.float32)
    for y in range(len(out)):
        for i in range(width):
            spread[3 * i] = spread[3 * i + 1] = spread[3 * i + 2] = matte[y, 3 * width + i]
        back, fgr, row = behind[y % len(behind)], matte[y], out[y]
        for i in range(3 * width):
            row[i] = np.int32((back[i] + (fgr[i] - back[i]) * spread[i]) * most + np.float32(0.5))


@_compiled
def _write_transparent(matte, most, out, premultiplied):  # type: ignore[no-untyped-def]
    width = matte.shape[1] // 4
    for y in range(len(out)):
        for i in range(width):
            pha = matte[y, 3 * width + i]
            shown = (pha if premultiplied else np.float32(pha > 0)) * most
            for c in range(3):
                out[y, 4 * i + c] = np.int32(matte[y, 3 * i + c] * shown + np.float32(0.5))
            out[y, 4 * i + 3] = np.int32(pha * most + np.float32(0.5))


@_compiled
def _write_alpha(matte, most, out):  # type: ignore[no-untyped-def]
    width = matte.shape[1] // 4
    for y in range(len(out)):
        for i in range(width):
            out[y, i] = np.int32(matte[y, 3 * width + i] * most + np.float32(0.5))


@_compiled
def _write_foreground(matte, most, out):  # type: ignore[no-untyped-def]
    for y in range(len(out)):
        for i in range(out.shape[1]):
            out[y, i] = np.int32(matte[y, i] * most + np.float32(0.5))


def _write_cutout(matte: Floats, most: np.float32, out: NDArray[Any]) -> None:
    _write_transparent(matte, most, out, False)


def _write_premultiplied(matte: Floats, most: np.float32, out: NDArray[Any]) -> None:
    _write_transparent(matte, most, out, True)


def _write_matte(matte: Floats, _: np.float32, out: Floats) -> None:
    out[:] = matte[: len(out)]


_WRITERS: dict[Output, tuple[int, Callable[..., None]]] = {
    "matte": (4, _write_matte),
    "composition": (3, _write_composition),
    "cutout": (4, _write_cutout),
    "premultiplied": (4, _write_premultiplied),
    "alpha": (1, _write_alpha),
    "foreground": (3, _write_foreground),
}
"""Numbers per pixel, and the function that writes rows of pixels from rows of the matte."""
