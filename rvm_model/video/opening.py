"""Open the file of a clip: a regular file, which FFmpeg reads through Python and therefore never by a path.

A video file may name other files and addresses: a playlist does, a QuickTime reference movie, a name with `%d`. FFmpeg
gets no path here, no protocol, and only demuxers that read one file.
"""

import errno
import os
import time
from contextlib import ExitStack, suppress
from io import BufferedReader
from pathlib import Path

import av
from av.container import InputContainer

from rvm_model.files import open_file
from rvm_model.video.colour import VideoError
from rvm_model.video.frames import MOST_PIXELS
from rvm_model.video.mp4_tables import lacks_index, refuse_empty_samples

DEMUXERS = (
    "amv",
    "asf",
    "av1",
    "avi",
    "bmp_pipe",
    "cavsvideo",
    "dirac",
    "dnxhd",
    "dv",
    "flv",
    "gif",
    "gxf",
    "h261",
    "h263",
    "h264",
    "hevc",
    "ivf",
    "m4v",
    "matroska",
    "mjpeg",
    "mov",
    "mpeg",
    "mpegts",
    "mpegvideo",
    "mxf",
    "nut",
    "obu",
    "ogg",
    "rm",
    "tiff_pipe",
    "vc1",
    "vvc",
    "wav",
    "webp",
    "webp_pipe",
    "wtv",
    "yuv4mpegpipe",
)
"""FFmpeg's names of the file formats that are read: each file of them stands for itself."""

MOST_WORK = 10.0
"""Seconds of a processor after which FFmpeg's search for the next frame ends. In a sparse file it takes hours.

Waiting for a slow disk, or for a user who has stopped the process, does not count.
"""

MOST_SEARCHED = 200_000_000
"""Bytes of a raw stream without a frame after which FFmpeg's search ends, since it keeps them all in memory.

That is two bytes for each pixel of the largest frame, and such streams are compressed. Other files may be read for long
between two subtitles.
"""

_NO_TIMESTAMPS = 0x80
"""FFmpeg's mark of the formats that are raw streams (AVFMT_NOTIMESTAMPS)."""

_BUFFER = 2**18
"""Bytes that FFmpeg reads at a time. Each read takes Python's lock."""


class ClipFile:
    """A file for FFmpeg to read, for at most MOST_WORK between two frames, and MOST_SEARCHED of a raw stream.

    `is_raw` holds until FFmpeg has recognised another format.
    """

    def __init__(self, content: BufferedReader, suffix: str):
        # FFmpeg takes the suffix as a hint. In a whole name it would look for a pattern.
        self.name = f"clip{suffix}"
        self.tell = content.tell
        self._content = content
        self._given_up = False
        self.is_raw = True
        self.note_frame()

    def read(self, size: int) -> bytes:
        if self._given_up:
            return b""  # PyAV passes one exception on, and prints others
        if time.thread_time() - self._began > MOST_WORK:
            self._given_up = True
            raise OSError(errno.ETIME, f"no frame was found in {MOST_WORK:g} s of work")
        part = self._content.read(size)
        self._searched += len(part)
        if self.is_raw and self._searched > MOST_SEARCHED:
            self._given_up = True
            raise OSError(errno.EFBIG, f"no frame was found in {MOST_SEARCHED} bytes")
        return part

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move, or return a negative number as FFmpeg expects it: a damaged file leads anywhere."""
        self._searched = 0
        try:
            return self._content.seek(offset, whence)
        except OSError as error:
            return -(error.errno or errno.EINVAL)

    def note_frame(self) -> None:
        """Count from here, in the thread that reads on."""
        self._began = time.thread_time()
        self._searched = 0


def open_container(path: Path, opened: ExitStack) -> tuple[InputContainer, ClipFile]:
    """Open a video file, to be closed with `opened`.

    Raises:
        VideoError: it is no regular file, or no video of one of DEMUXERS.
    """
    options = {"format_whitelist": ",".join(DEMUXERS), "protocol_whitelist": "none", "max_pixels": str(MOST_PIXELS)}
    try:
        content = opened.enter_context(open_file(path))
        refuse_empty_samples(path, content, os.fstat(content.fileno()).st_size)
        file = ClipFile(content, path.suffix)
        container = av.open(file, "r", options=options, metadata_errors="replace", buffer_size=_BUFFER)
        file.is_raw = bool(container.format.flags & _NO_TIMESTAMPS)
    except av.FFmpegError as error:
        refuse_without_index(path)
        if not isinstance(error, av.ArgumentError):
            raise VideoError(f"cannot read {path} as a video: {error.strerror}") from error
        raise VideoError(
            f"cannot read {path} as a video: it is damaged, or of a kind that is not read here, such as a playlist; "
            "convert it to MP4"
        ) from error
    except (OSError, ValueError) as error:
        raise VideoError(f"cannot read {path} as a video: {getattr(error, 'strerror', None) or error}") from error
    return opened.enter_context(container), file


def refuse_without_index(path: Path) -> None:
    """Raise VideoError for an MP4 or QuickTime file that FFmpeg cannot read because its index is cut off."""
    with suppress(OSError), open_file(path) as content:
        if lacks_index(content, os.fstat(content.fileno()).st_size):
            raise VideoError(
                f"cannot read {path} as a video: it has no index: cut off, as by a recording or a copy that was not "
                "finished; copy it again, or repair it"
            )
