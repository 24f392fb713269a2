"""High dynamic range: read a frame's metadata, and write it as options of encoders.

Source: SMPTE ST 2086 (mastering display), CTA-861.3 (content light), ITU-R BT.2100 (PQ and HLG).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import cast

import av
import numpy as np
from av.buffer import Buffer

_TRANSFERS = {16: "PQ", 18: "HLG"}
_MOST_NITS = 10_000
"""The end of PQ's scale, in cd/m2."""


@dataclass(frozen=True, kw_only=True)
class HdrMetadata:
    """Metadata of a video of high dynamic range, which displays use to fit it to their own.

    `primaries`: CIE 1931 x and y of the mastering display's red, green, blue and white. `nits`: its least and most
    luminance in cd/m2. `content`: the largest luminance of a pixel and of a frame's mean, MaxCLL and MaxFALL, in cd/m2.
    None is undeclared; `primaries` and `nits` are declared together.
    """

    primaries: tuple[Fraction, ...] | None = None
    nits: tuple[Fraction, Fraction] | None = None
    content: tuple[int, int] | None = None


def hdr_name(transfer: int) -> str | None:
    """Return the name of a transfer of high dynamic range, PQ or HLG, by its number in ITU-T H.273, else None."""
    return _TRANSFERS.get(transfer)


def hdr_metadata(frame: av.VideoFrame) -> HdrMetadata | None:
    """Return the metadata that a decoded frame carries, or None. What makes no sense counts as undeclared."""
    display, light = _side_data(frame, "MASTERING_DISPLAY_METADATA"), _side_data(frame, "CONTENT_LIGHT_LEVEL")
    primaries, nits = (None, None) if display is None else _mastering_display(display)
    content = None
    if light is not None:
        most, mean = np.frombuffer(light, np.uint32)[:2].tolist()
        content = (most, mean) if 0 < most <= 65535 and mean <= 65535 else None
    if primaries is None and content is None:
        return None
    return HdrMetadata(primaries=primaries, nits=nits, content=content)


def x265_parameters(hdr: HdrMetadata) -> str:
    return ":".join(filter(None, (_integers(hdr, "master-display"), _content(hdr, "max-cll={},{}"))))


def x264_parameters(hdr: HdrMetadata) -> str:
    return ":".join(filter(None, (_integers(hdr, "mastering-display"), _content(hdr, "cll={},{}"))))


def svtav1_parameters(hdr: HdrMetadata) -> str:
    return ":".join(filter(None, (_decimals(hdr), _content(hdr, "content-light={},{}"))))


def _side_data(frame: av.VideoFrame, kind: str) -> bytes | None:
    try:
        found = cast("Mapping[str, Buffer]", frame.side_data).get(kind)
    except ValueError:  # PyAV cannot list side data of a kind that it does not know
        return None
    return None if found is None else bytes(found)


def _mastering_display(
    content: bytes,
) -> tuple[tuple[Fraction, ...] | None, tuple[Fraction, Fraction] | None]:
    """Read an AVMasteringDisplayMetadata: ten rational numbers, and two flags for what is declared."""
    values = np.frombuffer(content, np.int32)[:22].tolist()
    if not (values[20] and values[21]) or any(below <= 0 for below in values[1:20:2]):
        return None, None
    numbers = [Fraction(above, below) for above, below in zip(values[:20:2], values[1:20:2], strict=True)]
    primaries, (least, most) = tuple(numbers[:8]), numbers[8:]
    if not all(0 <= each <= 1 for each in primaries) or not 0 <= least < most <= _MOST_NITS:
        return None, None
    return primaries, (least, most)


def _integers(hdr: HdrMetadata, name: str) -> str:
    if hdr.primaries is None or hdr.nits is None:
        return ""
    red, green, blue, white = _pairs([round(each * 50_000) for each in hdr.primaries])
    least, most = (round(each * 10_000) for each in hdr.nits)
    return f"{name}=G{green}B{blue}R{red}WP{white}L({most},{least})"


def _decimals(hdr: HdrMetadata) -> str:
    if hdr.primaries is None or hdr.nits is None:
        return ""
    red, green, blue, white = _pairs([f"{float(each):.5f}" for each in hdr.primaries])
    least, most = (f"{float(each):.4f}" for each in hdr.nits)
    return f"mastering-display=G{green}B{blue}R{red}WP{white}L({most},{least})"


def _pairs(values: list[int] | list[str]) -> list[str]:
    return [f"({x},{y})" for x, y in [*pairwise(values)][::2]]


def _content(hdr: HdrMetadata, form: str) -> str:
    return "" if hdr.content is None else form.format(*hdr.content)
