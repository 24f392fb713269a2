"""Copy what a file has beside its video, without decoding: sound, subtitles, data, attachments, chapters and titles."""

import io
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import av
from av.container import InputContainer, OutputContainer
from av.stream import AttachmentStream, DataStream, Discard, Stream
from av.video.stream import VideoStream

from rvm_model.video.encoders import Container
from rvm_model.video.frames import MOST_SECONDS, Tracks
from rvm_model.video.opening import open_container

if TYPE_CHECKING:
    from av.container.core import Chapter  # in PyAV's types only

_TRACKS_APART = 2
"""Most seconds by which the tracks of a file may be out of step. After the end plus this, reading stops."""

_NAMES = {
    "audio": "sound, which is",
    "subtitle": "subtitles, which are",
    "data": "data, which are",
    "attachment": "as an attachment, which is",
}

_DATA = ("bin_data", "klv")
"""Kinds of data that FFmpeg writes well. With others, such as timed ID3, it makes an MP4 that it cannot read."""

_TITLES = (
    "album",
    "artist",
    "comment",
    "copyright",
    "creation_time",
    "date",
    "description",
    "genre",
    "show",
    "synopsis",
    "title",
)
"""Tags about the content. Tags about the file itself, such as its encoder, are not copied."""

_TRACK_TITLES = ("filename", "language", "mimetype", "timecode", "title")

_QUICKTIME_LANGUAGES = {
    "bod": "tib",
    "deu": "ger",
    "ell": "gre",
    "hye": "arm",
    "isl": "ice",
    "kat": "geo",
    "mkd": "mac",
    "msa": "may",
    "mya": "bur",
    "nld": "dut",
    "slk": "slo",
    "sqi": "alb",
    "swe": "sve",
    "zho": "chi",
}
"""FFmpeg's codes of languages in QuickTime, where they differ from ISO 639-2/T. It leaves others out."""


class TracksCopy:
    """All tracks of `tracks`, written along with the video, so that they are interleaved in the file.

    A track that the container cannot hold is left out, with a UserWarning that names it. In a container without
    `negative_times`, packets that end before 0, with which encoders start, are left out: they would shift all others.
    """

    def __init__(self, tracks: Tracks, output: OutputContainer, video: VideoStream, path: Path, container: Container):
        self._tracks, self._output, self._container = tracks, output, container
        self._copies: dict[int, Stream] = {}
        with ExitStack() as opened:
            self._input, self._file = open_container(tracks.path, opened)
            self._add_tracks(path)
            self._add_chapters(path)
            video.metadata.update(self._titles_of(self._input.streams[tracks.video]))
            output.metadata.update(titles(self._input.metadata))
            self._opened = opened.pop_all()
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
        self._file.note_frame()  # a search for rare ones is the longer, the more frames there are
        while self._next is not None and self._next[0] <= time:
            self._output.mux(self._next[1])
            self._next = next(self._packets, None)

    def copy_rest(self, video_end: Fraction) -> None:
        """Write the other packets, or those that begin before `video_end`, in seconds of the output."""
        while self._next is not None:
            if not self._tracks.until_video_ends or self._next[0] < video_end:
                self._output.mux(self._next[1])
            elif self._next[0] > video_end + _TRACKS_APART:
                return
            self._next = next(self._packets, None)

    def _add_tracks(self, path: Path) -> None:
        for stream in tracks_beside(self._input.streams):
            if not _holds(self._container, stream):
                _warn(f"{path} cannot hold {_described(stream)} left out")
                continue
            copy = self._output.add_stream_from_template(stream)
            copy.disposition = stream.disposition
            copy.metadata.clear()
            copy.metadata.update(self._titles_of(stream))
            self._copies[stream.index] = copy

    def _add_chapters(self, path: Path) -> None:
        chapters = [*self._chapters()]
        if chapters and not self._container.chapters:
            _warn(f"{path} cannot hold chapters, which are left out")
        elif chapters:
            self._output.set_chapters(chapters)

    def _read(self) -> Iterator[tuple[Fraction, "av.Packet[Stream]"]]:
        """Yield packets for the output, with the seconds at which they begin there."""
        tracks, last = self._tracks, dict.fromkeys(self._copies, -(2**63))
        streams = [stream for stream in self._input.streams if stream.index in self._copies]
        streams = [stream for stream in streams if not isinstance(stream, AttachmentStream)]
        if not streams:
            return
        if tracks.start is not None:
            with suppress(av.FFmpegError, OSError):
                self._input.seek(int(tracks.start * av.time_base))
        # Damage to a track ends them all; the video's source reports damage to the file.
        with suppress(av.FFmpegError, OSError):
            for packet in self._input.demux(*streams):
                self._file.note_frame()
                if packet.pts is None or packet.dts is None or packet.dts < last[packet.stream_index]:
                    continue
                if packet.dts == last[packet.stream_index] and packet.stream.type == "audio":
                    continue  # but several subtitles may begin at once
                last[packet.stream_index] = packet.dts
                time = packet.pts * packet.time_base
                end = (packet.pts + (packet.duration or 0)) * packet.time_base
                if tracks.start is not None and time < tracks.start:
                    if packet.stream.type != "subtitle" or end <= tracks.start:
                        continue
                    # It is read on the first frame too.
                    packet.pts = packet.dts = round(tracks.start / packet.time_base)
                    packet.duration = round((end - tracks.start) / packet.time_base)
                    time = tracks.start
                elif end <= tracks.shift and not self._container.negative_times:
                    continue
                if tracks.end is not None and time >= tracks.end:
                    if time > tracks.end + _TRACKS_APART:
                        return
                    continue
                shift = round(tracks.shift / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = self._copies[packet.stream_index]
                yield time - tracks.shift, packet

    def _chapters(self) -> Iterator["Chapter"]:
        """Yield the chapters within the requested part, by the clock of the output."""
        tracks = self._tracks
        for chapter in chapters_of(self._input):
            base = chapter["time_base"]
            if base is None or chapter["end"] < chapter["start"] or chapter["end"] * base > MOST_SECONDS:
                continue
            start, end = chapter["start"] * base, chapter["end"] * base
            if (tracks.start is not None and end <= tracks.start) or (
                tracks.last_time is not None and start >= tracks.last_time
            ):
                continue
            start, end = max(start - tracks.shift, Fraction(0)), end - tracks.shift
            if tracks.last_time is not None:
                end = min(end, tracks.last_time - tracks.shift)
            kept = {key: value for key, value in chapter["metadata"].items() if key.lower() == "title"}
            yield {
                "id": chapter["id"],
                "start": round(start * 1000),
                "end": round(end * 1000),
                "time_base": Fraction(1, 1000),
                "metadata": kept,
            }

    def _titles_of(self, stream: Stream) -> dict[str, str]:
        """Return what the output says of a track. The timecode is that of the first frame, so a later part has none."""
        told = track_titles(stream)
        if self._tracks.start is not None:
            told.pop("timecode", None)
        if self._container.format == "mov" and "language" in told:
            told["language"] = _QUICKTIME_LANGUAGES.get(told["language"], told["language"])
        return told


def tracks_beside(streams: "av.container.streams.StreamContainer") -> list[Stream]:
    """Return the streams of a file that are copied.

    In MP4 and MOV, chapters and the timecode are streams too. FFmpeg writes those anew: it discards the former, and
    tells the latter as metadata.
    """
    return [
        stream
        for stream in streams
        if stream.type in _NAMES
        and stream.discard != Discard.all
        and not (stream.type == "data" and "timecode" in stream.metadata)
    ]


def chapters_of(container: InputContainer) -> "list[Chapter]":
    return container.chapters()


def track_titles(stream: Stream) -> dict[str, str]:
    """Return what a file says of a track: language, title, timecode, and the name and kind of an attachment."""
    told = {key.lower(): value for key, value in stream.metadata.items()}
    if "name" in told:  # the title in MP4
        told.setdefault("title", told["name"])
    if told.get("language") == "und":
        del told["language"]
    return {key: value for key, value in told.items() if key in _TRACK_TITLES}


def titles(metadata: dict[str, str]) -> dict[str, str]:
    """Return what a file says of its content: title, artist, date and the like."""
    return {key.lower(): value for key, value in metadata.items() if key.lower() in _TITLES}


def _holds(container: Container, stream: Stream) -> bool:
    """Return whether a file can hold a track, by writing the head of one."""
    if stream.type not in container.beside or (isinstance(stream, DataStream) and stream.name not in _DATA):
        return False
    trial = av.open(io.BytesIO(), "w", format=container.format)
    try:
        copy = trial.add_stream_from_template(stream)
        copy.metadata.update(stream.metadata)
        trial.start_encoding()
    except (ValueError, av.FFmpegError):
        return False
    finally:
        with suppress(av.FFmpegError):  # some tracks end well with packets only
            trial.close()
    return True


def _described(stream: Stream) -> str:
    if isinstance(stream, DataStream | AttachmentStream):
        codec = stream.name
    else:  # which has no name without a codec
        codec = None if stream.codec_context is None else stream.codec_context.name
    return f"{codec or 'unknown'} {_NAMES[stream.type]}"


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=8)
