"""Small clips for tests."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

from rvm_model.video.colour import SRGB
from rvm_model.video.frames import Properties
from rvm_model.video.sink import open_sink
from rvm_model.video.synthetic.clip import draw_frame


@dataclass(frozen=True, kw_only=True)
class Sound:
    """A track that is silent except for one click, `click` seconds in. It begins at `begin`."""

    codec: str
    seconds: float
    click: float
    begin: float = 0

    def add(self, file):
        return file.add_stream(self.codec, rate=48000, layout="mono")

    def encode(self, track):
        wave = np.zeros(int(self.seconds * 48000), np.float32)
        at = int((self.click - self.begin) * 48000)
        wave[at : at + 960] = 0.9 * np.sin(np.arange(960) * 0.4)
        sample_format = track.codec_context.format.name
        packets = []
        for k in range(0, len(wave), 960):
            block = wave[None, k : k + 960]
            if sample_format.startswith("s16"):
                block = (block * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(block, format=sample_format, layout="mono")
            frame.sample_rate, frame.time_base = 48000, Fraction(1, 48000)
            frame.pts = k + int(self.begin * 48000)
            packets += track.encode(frame)
        return packets + track.encode(None)


def drawn(count: int, width: int, height: int) -> list[np.ndarray]:
    """Draw a bright disc that moves over a shade, (H, W, 3) uint8. Codecs preserve it."""
    y, x = np.mgrid[:height, :width]
    frames = []
    for k in range(count):
        disc = (x - width * (k + 1) / (count + 2)) ** 2 + (y - height / 2) ** 2 < (height / 4) ** 2
        shade = np.stack([x * 150 / width, y * 150 / height, np.full_like(x, 90)], axis=-1)
        frames.append(np.where(disc[..., None], [230, 190, 160], shade).astype(np.uint8))
    return frames


def write_clip(path: Path, frames: list[np.ndarray], rate: int = 25) -> Path:
    """Write a clip with our own sink, which has its own tests."""
    height, width, _ = frames[0].shape
    like = Properties(
        width=width,
        height=height,
        frame_rate=Fraction(rate),
        time_base=Fraction(1, rate),
        bits=8,
        colour=SRGB,
        frames=len(frames),
        still=False,
    )
    with open_sink(path, like, alpha=False, quality=5) as sink:
        for k, frame in enumerate(frames):
            sink.write(frame, k)
    return path


_FINE = {"libx264": {"crf": "8"}, "libx265": {"crf": "8", "x265-params": "log-level=error"}}


def encode_clip(
    path: Path,
    frames: list[np.ndarray] | list[av.VideoFrame],
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    pts: list[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    rate: int = 25,
    options: dict[str, str] | None = None,
    mux: dict[str, str] | None = None,
    container: str | None = None,
    matrix: tuple[int, ...] | None = None,
    sound: Sound | None = None,
    **fields: int,
) -> Path:
    """Write a clip with PyAV alone, so that a mistake that reader and writer share shows.

    Args:
        path: The file.
        frames: RGB, or ready to be encoded.
        codec: An FFmpeg encoder.
        pixel_format: The encoder's.
        pts: In `time_base`; by default 0, 1, 2 and so on.
        time_base: The stream's.
        rate: Frames per second, as the file declares it.
        options: The encoder's.
        mux: The container's options.
        container: The file's format; by default the suffix decides.
        matrix: Display matrix (a, b, c, d) in whole numbers.
        sound: A track beside the video.
        fields: Attributes of the codec context: colorspace, color_range and so on.
    """
    frames = [each if isinstance(each, av.VideoFrame) else av.VideoFrame.from_ndarray(each) for each in frames]
    with av.open(str(path), "w", format=container, options=mux or {}) as file:
        stream = file.add_stream(codec, rate=rate, options={**_FINE.get(codec, {}), **(options or {})})
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, pixel_format
        stream.time_base = stream.codec_context.time_base = time_base
        for name, value in fields.items():
            setattr(stream.codec_context, name, value)
        if matrix is not None:
            a, b, c, d = (65536 * each for each in matrix)
            stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        track = None if sound is None else sound.add(file)
        for k, frame in enumerate(frames):
            shown = frame if frame.format.name == pixel_format else frame.reformat(format=pixel_format)
            shown.pts, shown.time_base = (k if pts is None else pts[k]), time_base
            file.mux(stream.encode(shown))
        file.mux(stream.encode(None))
        if sound is not None:
            file.mux(sound.encode(track))
    return path


def drawn_inputs(frames: int, width: int, height: int) -> Iterator[NDArray[np.float32]]:
    """Yield frames of the built-in clip as a network takes them: (1, 3, H, W), float32 in [0, 1]."""
    for t in range(frames):
        image = draw_frame(t, width, height).image[None]
        yield np.ascontiguousarray(image.transpose(0, 3, 1, 2), np.float32) / np.float32(255)


def encode_programme(path: Path, frames: list[np.ndarray], interlaced: bool = False, **video: object) -> Path:
    """Write a clip with sound in English and German, subtitles from 0.4 to 1 s, two chapters and a title.

    It lasts as long as its frames at 25 frames per second; the second chapter begins at half of it.

    Args:
        path: A file name that ends in .mkv, .mp4 or .mov.
        frames: RGB of 8 bits.
        interlaced: Declare it so, the bottom field first; by x264 only.
        video: `codec` and `pixel_format`, and attributes of the codec context.
    """
    half, size = len(frames) * 20, frames[0].shape
    codec, pixel_format = str(video.pop("codec", "libx264")), str(video.pop("pixel_format", "yuv420p"))
    texts = "subrip" if path.suffix == ".mkv" else "mov_text"
    with av.open(str(path), "w") as file:
        file.metadata.update(title="A talk", artist="Somebody", encoder="none")
        options = dict(_FINE.get(codec, {})) | ({"x264-params": "interlaced=1"} if interlaced else {})
        stream = file.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = size[0], size[1], pixel_format
        stream.time_base = stream.codec_context.time_base = Fraction(1, 25)
        for name, value in video.items():
            setattr(stream.codec_context, name, value)
        sounds = []
        for language, title in (("eng", "Original"), ("deu", "Synchronfassung")):
            sound = Sound(codec="aac", seconds=len(frames) / 25, click=half / 1000)
            sounds.append((sound, sound.add(file)))
            sounds[-1][1].metadata.update(language=language, title=title)
            sounds[-1][1].disposition = Disposition.default if language == "deu" else Disposition.original
        subtitles = file.add_mux_stream(texts, time_base=Fraction(1, 1000))
        subtitles.metadata["language"] = "fra"
        if path.suffix == ".mkv":
            file.add_attachment("font.ttf", "font/ttf", b"a font")
        chapters = [("Beginning", 0, half), ("End", half, 2 * half)]
        file.set_chapters(
            [
                {"id": k, "start": start, "end": end, "time_base": Fraction(1, 1000), "metadata": {"title": title}}
                for k, (title, start, end) in enumerate(chapters)
            ]
        )
        for k, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels).reformat(format=pixel_format)
            frame.pts, frame.time_base = k, Fraction(1, 25)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        for sound, track in sounds:
            file.mux(sound.encode(track))
        text = av.Packet(b"Bonjour" if texts == "subrip" else b"\0\7Bonjour")
        text.stream, text.time_base, text.pts, text.dts, text.duration = subtitles, Fraction(1, 1000), 400, 400, 600
        file.mux(text)
    return path
