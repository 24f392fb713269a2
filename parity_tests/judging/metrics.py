"""Compute the figures of matting papers from a matte and its true alpha, in constant memory.

The definitions are those of the evaluation that RVM was published with. That evaluation reads 8-bit images; these
figures do not round the values.

Sources: arXiv:2108.11515, section 4, and its evaluation/evaluate_lr.py; Rhemann et al., "A perceptually motivated
online benchmark for image matting", CVPR 2009, for Grad and Conn; Erofeev et al., "Perceptually motivated benchmark
for video matting", BMVC 2015, for dtSSD.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_SIGMA = 1.4
"""The standard deviation of the Gaussian whose gradient Grad compares, in pixels."""

_NEGLIGIBLE = 0.01
"""Grad's kernel ends where the Gaussian's density falls below this."""

_THRESHOLDS = np.arange(1, 11, dtype=np.float32) / np.float32(10)
"""The levels at which Conn looks for the largest connected region."""

_UNNOTICED = 0.15
"""A distance from the connected level below which Conn counts a pixel as connected."""


@dataclass(frozen=True, kw_only=True)
class MatteQuality:
    """Means over frames; 0 is a perfect matte. Values are in [0, 1] units, as computed, before papers scale them.

    Attributes:
        mad: Mean absolute difference of alpha. Papers multiply by 1e3.
        mse: Mean squared difference of alpha. Papers multiply by 1e3.
        grad: Squared difference of the gradient magnitudes, summed over a frame. Papers divide by 1e3.
        conn: Difference of the degrees of connectedness, summed over a frame. Papers divide by 1e3.
        dtssd: Root mean square difference of the changes since the frame before, from the second frame on. NaN for
            one frame. Papers multiply by 1e2. The published evaluation also averages in a 0 for the first frame, so
            multiply by (T - 1) / T to compare with its tables.
        fgr_mse: Mean squared difference of the foreground over pixels whose true alpha is above 0. A frame without
            such pixels does not count. NaN without a foreground. Papers multiply by 1e3.
    """

    mad: float
    mse: float
    grad: float
    conn: float
    dtssd: float
    fgr_mse: float


class MatteMetrics:
    """The figures of one clip, collected frame by frame. Start a new one for each clip, since dtSSD compares frames."""

    def __init__(self) -> None:
        self._mad = _Mean()
        self._mse = _Mean()
        self._grad = _Mean()
        self._conn = _Mean()
        self._dtssd = _Mean()
        self._fgr_mse = _Mean()
        self._error_before: NDArray[np.float32] | None = None

    def add(
        self,
        true_pha: NDArray[np.floating],
        pha: NDArray[np.floating],
        true_fgr: NDArray[np.floating] | None = None,
        fgr: NDArray[np.floating] | None = None,
    ) -> None:
        """Compare one frame with the truth. Each batch entry counts as a frame.

        A value that is not finite makes NaN of every figure of its frame that uses it, wherever the value is.

        Args:
            true_pha: True alpha, (B, 1, H, W) in [0, 1].
            pha: The matte's alpha, of the same shape.
            true_fgr: True foreground, (B, 3, H, W) in [0, 1].
            fgr: The matte's foreground, of the same shape.

        Raises:
            ValueError: Shapes do not fit each other or the frame before, or only one foreground is there.
        """
        self._check(true_pha, pha, true_fgr, fgr)
        true_pha, pha = true_pha.astype(np.float32), pha.astype(np.float32)
        with np.errstate(invalid="ignore"):  # inf - inf; such an error is NaN
            error = pha - true_pha
        for entry in range(len(pha)):
            before = None if self._error_before is None else self._error_before[entry]
            self._add_alpha(true_pha[entry, 0], pha[entry, 0], error[entry], before)
            if true_fgr is not None and fgr is not None:
                self._add_foreground(true_pha[entry, 0], true_fgr[entry], fgr[entry])
        self._error_before = error

    def quality(self) -> MatteQuality:
        """Return the means over the frames so far. A figure without frames is NaN."""
        return MatteQuality(
            mad=self._mad.value,
            mse=self._mse.value,
            grad=self._grad.value,
            conn=self._conn.value,
            dtssd=self._dtssd.value,
            fgr_mse=self._fgr_mse.value,
        )

    def _check(
        self,
        true_pha: NDArray[np.floating],
        pha: NDArray[np.floating],
        true_fgr: NDArray[np.floating] | None,
        fgr: NDArray[np.floating] | None,
    ) -> None:
        if true_pha.ndim != 4 or true_pha.shape[1] != 1 or not true_pha.size:
            raise ValueError(f"true_pha has shape {true_pha.shape}; give (B, 1, H, W)")
        if pha.shape != true_pha.shape:
            raise ValueError(f"pha has shape {pha.shape}; give true_pha's, {true_pha.shape}")
        if self._error_before is not None and pha.shape != self._error_before.shape:
            raise ValueError(f"pha has shape {pha.shape}; give that of the frame before, {self._error_before.shape}")
        if (true_fgr is None) != (fgr is None):
            raise ValueError("one foreground is missing; give both true_fgr and fgr, or neither")
        colour = (pha.shape[0], 3, *pha.shape[2:])
        for name, value in (("true_fgr", true_fgr), ("fgr", fgr)):
            if value is not None and value.shape != colour:
                raise ValueError(f"{name} has shape {value.shape}; give {colour}")

    def _add_alpha(
        self,
        true_pha: NDArray[np.float32],
        pha: NDArray[np.float32],
        error: NDArray[np.float32],
        error_before: NDArray[np.float32] | None,
    ) -> None:
        if not (np.isfinite(true_pha).all() and np.isfinite(pha).all()):
            for mean in (self._mad, self._mse, self._grad, self._conn, self._dtssd):
                mean.add(math.nan)
            return
        self._mad.add(float(np.abs(error).mean(dtype=np.float64)))
        self._mse.add(_mean_square(error))
        self._grad.add(_gradient_error(true_pha, pha))
        self._conn.add(_connectivity_error(true_pha, pha))
        if error_before is not None:
            # The difference of the two changes is the change of the error.
            with np.errstate(invalid="ignore"):
                self._dtssd.add(math.sqrt(_mean_square(error - error_before)))

    def _add_foreground(
        self, true_pha: NDArray[np.float32], true_fgr: NDArray[np.floating], fgr: NDArray[np.floating]
    ) -> None:
        if not all(np.isfinite(value).all() for value in (true_pha, true_fgr, fgr)):
            self._fgr_mse.add(math.nan)
            return
        shown = true_pha > 0
        if shown.any():
            self._fgr_mse.add(_mean_square(fgr[:, shown].astype(np.float32) - true_fgr[:, shown].astype(np.float32)))


@dataclass
class _Mean:
    total: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        self.total += value
        self.count += 1

    @property
    def value(self) -> float:
        return self.total / self.count if self.count else math.nan


def _mean_square(values: NDArray[np.float32]) -> float:
    return float(np.square(values).mean(dtype=np.float64))


def _gradient_error(true_pha: NDArray[np.float32], pha: NDArray[np.float32]) -> float:
    """Return the summed squared difference of the two gradient magnitudes, each alpha stretched to [0, 1] before."""
    difference = _gradient(_stretched(true_pha)) - _gradient(_stretched(pha))
    return float(np.square(difference).sum(dtype=np.float64))


def _stretched(pha: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return alpha with its least value at 0 and its greatest at 1; zeros where all values are equal."""
    least, greatest = pha.min(), pha.max()
    return (pha - least) / (greatest - least) if greatest > least else np.zeros_like(pha)


def _gradient(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the magnitude of the Gaussian gradient, the border's values repeated outwards."""
    x = ndimage.correlate1d(ndimage.correlate1d(image, _GAUSSIAN, 0, mode="nearest"), _SLOPE, 1, mode="nearest")
    y = ndimage.correlate1d(ndimage.correlate1d(image, _GAUSSIAN, 1, mode="nearest"), _SLOPE, 0, mode="nearest")
    return np.asarray(np.sqrt(x * x + y * y))  # faster than np.hypot


def _kernels() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a Gaussian and its derivative, whose outer product has a sum of squares of 1."""
    radius = math.ceil(_SIGMA * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * _SIGMA * _NEGLIGIBLE)))
    x = np.arange(-radius, radius + 1, dtype=np.float64)
    gaussian = np.exp(-(x**2) / (2 * _SIGMA**2))
    slope = -x * gaussian
    return gaussian / np.linalg.norm(gaussian), slope / np.linalg.norm(slope)


_GAUSSIAN, _SLOPE = _kernels()


def _connectivity_error(true_pha: NDArray[np.float32], pha: NDArray[np.float32]) -> float:
    """Return the summed absolute difference of the two degrees of connectedness."""
    connected = _connected_level(np.minimum(true_pha, pha))
    return float(np.abs(_distance(true_pha, connected) - _distance(pha, connected)).sum(dtype=np.float64))


def _distance(pha: NDArray[np.float32], connected: NDArray[np.float32]) -> NDArray[np.float32]:
    above = pha - connected
    return above * (above >= _UNNOTICED)


def _connected_level(common: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the highest threshold up to which each pixel is in the largest region at every threshold; else 0.

    `common` is the lesser of both alphas, so it reaches a threshold where both do.
    """
    level = np.zeros_like(common)
    box = ndimage.find_objects((common >= _THRESHOLDS[0]).view(np.uint8))  # the higher thresholds' pixels lie in it
    if not box:
        return level
    common, level_inside = common[box[0]], level[box[0]]
    inside = np.ones(common.shape, np.bool_)
    size_before = -1
    for threshold in _THRESHOLDS:
        reached = common >= threshold
        size = int(np.count_nonzero(reached))
        if size != size_before:  # else it is the region of the threshold before
            inside &= _largest_region(reached)
            size_before = size
        if not inside.any():
            break
        np.copyto(level_inside, threshold, where=inside)
    return level


def _largest_region(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the largest region of pixels that share edges; of equal ones, the first from the top."""
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())
