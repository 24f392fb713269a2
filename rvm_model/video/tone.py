"""Map a high dynamic range to SDR, on request: bright light is compressed, colours of BT.2020 become those of BT.709.

Source: ITU-R BT.2100 (PQ, HLG), BT.2390 section 5 (the curve), BT.2408 (203 cd/m2 is white), BT.1886 (SDR displays).
"""

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from rvm_model.video.colour import BT709, BT2020, UNTOLD, Colour, VideoError
from rvm_model.video.hdr import HdrMetadata, hdr_name

Floats = NDArray[np.float32]

_WHITE = 203.0
_USUAL_PEAK = 1000.0
"""cd/m2: of SDR's white, and of the display on which a video without metadata was mastered."""

_TO_BT709 = {
    BT709: np.eye(3),
    BT2020: np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]),
    12: np.array([[1.2249, -0.2247, 0], [-0.0420, 1.0419, 0], [-0.0196, -0.0786, 1.0979]]),  # P3 with D65
}
_TO_BT709[UNTOLD] = _TO_BT709[BT2020]


class ToneMap:
    """A function from the frames of a source of high dynamic range to SDR, for displays as BT.1886 describes them."""

    def __init__(self, colour: Colour, hdr: HdrMetadata | None, path: Path):
        """Prepare the curve.

        Raises:
            VideoError: the primaries are neither of BT.2020, P3 nor BT.709.
        """
        if colour.primaries not in _TO_BT709:
            raise VideoError(
                f"{path} is HDR of primaries (number {colour.primaries} of ITU-T H.273) that cannot be mapped; "
                "leave --hdr sdr out"
            )
        self.colour = replace(colour, matrix=BT709, full_range=False, primaries=BT709, transfer=BT709)
        codes = np.arange(65536) / 65535
        self._hlg = hdr_name(colour.transfer) == "HLG"
        self._light = (_hlg_scene(codes) if self._hlg else pq_nits(codes)).astype(np.float32)
        peak = _USUAL_PEAK if self._hlg or hdr is None or hdr.nits is None else max(float(hdr.nits[1]), _WHITE)
        nits = pq_nits(np.linspace(1e-3, 1, 1024))
        self._nits, self._share = nits, _compressed(nits, peak) / nits
        self._to_bt709 = (_TO_BT709[colour.primaries].T / _WHITE).astype(np.float32)

    def __call__(self, pixels: NDArray[np.uint16]) -> NDArray[np.uint8]:
        """Map (H, W, 3) in 0..65535 to (H, W, 3) in 0..255."""
        light: Floats = self._light[pixels]
        if self._hlg:
            luminance = light @ np.array([0.2627, 0.6780, 0.0593], np.float32)
            light *= np.float32(_USUAL_PEAK) * luminance[..., None] ** np.float32(0.2)
        share = np.interp(light.max(-1), self._nits, self._share).astype(np.float32)
        linear = np.clip((light * share[..., None]) @ self._to_bt709, 0, 1)
        return cast("NDArray[np.uint8]", np.rint(linear ** np.float32(1 / 2.4) * 255).astype(np.uint8))


_M1, _M2 = 2610 / 16384, 2523 / 32
_C1, _C2, _C3 = 3424 / 4096, 2413 / 128, 2392 / 128


def pq_nits(code: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the luminance in cd/m2 of PQ codes in [0, 1]."""
    power = code ** (1 / _M2)
    return 10_000 * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1)


def pq_code(nits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the PQ codes in [0, 1] of luminances in cd/m2."""
    power = (nits / 10_000) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


def _hlg_scene(code: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the light of the scene in [0, 1] of HLG codes in [0, 1]."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)


def _compressed(nits: NDArray[np.float64], peak: float) -> NDArray[np.float64]:
    """Compress luminances up to `peak` into those up to SDR's white. Dark ones stay as they are."""
    whole = pq_code(np.array(peak))
    most = pq_code(np.array(_WHITE)) / whole
    code = np.minimum(pq_code(nits) / whole, 1)
    knee = 1.5 * most - 0.5
    if knee >= 1:
        return nits
    t = np.clip((code - knee) / (1 - knee), 0, 1)
    curve = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * most
    return pq_nits(np.where(code < knee, code, curve) * whole)
