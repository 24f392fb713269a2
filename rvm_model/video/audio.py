"""The sound of a file, copied packet by packet into another file beside the video, without decoding."""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer

from rvm_model.video.frames import Audio
from rvm_model.video.opening import open_container

_TRACKS_APART = 2
"""Most seconds by which the sound tracks of a file may be out of step. After the end plus this, reading stops."""


class AudioCopy:
    """All sound tracks of `audio`, written along with the video, so that the two are interleaved in the file.

    A track that the container cannot hold is left out, with a UserWarning that names it. In a container without
    `negative_times`, packets that end before 0, with which encoders start, are left out: they would shift all others.
    """

    def __init__(self, audio: Audio, output: OutputContainer, path: Path, negative_times: bool):
        self._audio, self._output, self._negative_times = audio, output, negative_times
        with ExitStack() as opened:
            self._input, self._file = open_container(audio.path, opened)
            self._opened = opened.pop_all()
        self._copies: dict[int, AudioStream] = {}
        for stream in self._input.streams.audio:
            try:
                self._copies[stream.index] = output.add_stream_from_template(stream)
            except (ValueError, av.FFmpegError):
                name = "unknown" if stream.codec_context is None else stream.codec_context.name
                warnings.warn(f"{path} cannot hold {name} sound, which is left out", UserWarning, stacklevel=5)
        self._packets = self._read()
        self._next = next(self._packets, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def copy_until(self, time: Fraction) -> None:
        """Write the packets that begin up to `time`, in seconds of the output."""
        while self._next is not None and self._next[0] <= time:
            self._output.mux(self._next[1])
            self._next = next(self._packets, None)

    def copy_rest(self, video_end: Fraction) -> None:
        """Write the other packets, or those that begin before `video_end`, in seconds of the output."""
        while self._next is not None:
            if not self._audio.until_video_ends or self._next[0] < video_end:
                self._output.mux(self._next[1])
            elif self._next[0] > video_end + _TRACKS_APART:
                return
            self._next = next(self._packets, None)

    def _read(self) -> Iterator[tuple[Fraction, "av.Packet[AudioStream]"]]:
        """Yield packets for the output, with the seconds at which they begin there."""
        audio, last = self._audio, dict.fromkeys(self._copies, -(2**63))
        streams = [stream for stream in self._input.streams.audio if stream.index in self._copies]
        if not streams:
            return
        if audio.start is not None:
            with suppress(av.FFmpegError, OSError):
                self._input.seek(int(audio.start * av.time_base))
        # Damage to the sound ends it; the video's source reports damage to the file.
        with suppress(av.FFmpegError, OSError):
            for packet in cast("Iterator[av.Packet[AudioStream]]", self._input.demux(*streams)):
                self._file.note_frame()
                if packet.pts is None or packet.dts is None or packet.dts <= last[packet.stream_index]:
                    continue
                last[packet.stream_index] = packet.dts
                time = packet.pts * packet.time_base
                end = (packet.pts + (packet.duration or 0)) * packet.time_base
                if (audio.start is not None and time < audio.start) or (
                    end <= audio.shift and not self._negative_times
                ):
                    continue
                if audio.end is not None and time >= audio.end:
                    if time > audio.end + _TRACKS_APART:
                        return
                    continue
                shift = round(audio.shift / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = self._copies[packet.stream_index]
                yield time - audio.shift, packet
