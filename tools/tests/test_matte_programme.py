"""A broadcast as `rvm-export matte` finds it and leaves it: 10 bits, interlaced, two languages, subtitles, chapters."""

from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition

from rvm_model.tests.clips import drawn, encode_programme


def described(path):
    """Return what PyAV finds in a file, by the names of ffprobe."""
    with av.open(str(path)) as file:
        video = file.streams.video[0]
        context = video.codec_context
        frames = [*file.decode(video)]
        found = {
            "codec": (context.name, context.profile, context.pix_fmt, context.codec_tag.strip("\0")),
            "interlaced": any(frame.interlaced_frame for frame in frames),
            "times": [frame.pts * frame.time_base for frame in frames],
            "size": (context.width, context.height),
            "title": file.metadata["title"],
            "sounds": [
                (each.language, each.metadata.get("title", each.metadata.get("name"))) for each in file.streams.audio
            ],
            "default": [bool(each.disposition & Disposition.default) for each in file.streams.audio],
            "subtitles": [each.language for each in file.streams.subtitles],
            "chapters": [
                (each["metadata"]["title"], each["start"] * each["time_base"], each["end"] * each["time_base"])
                for each in file.chapters()
            ],
        }
    with av.open(str(path)) as file:
        packets = {stream.index: [] for stream in file.streams.audio}
        for packet in file.demux(*file.streams.audio):
            if packet.size and packet.pts >= 0:  # Matroska has no time before 0
                packets[packet.stream_index].append(bytes(packet))
        return found | {"packets": [*packets.values()]}


@pytest.mark.filterwarnings("default")
def test_a_broadcast_before_and_after(run, tmp_path):
    fields = drawn(50, 96, 64)
    even = np.arange(64)[:, None, None] % 2 == 0
    woven = [np.where(even, late, early) for early, late in zip(fields[::2], fields[1::2], strict=True)]
    source = encode_programme(tmp_path / "in.mkv", woven, interlaced=True, pixel_format="yuv420p10le")
    before = described(source)
    assert before["codec"] == ("h264", "High 10", "yuv420p10le", "")
    assert before["interlaced"]
    half = Fraction(1, 2)
    kept = {
        "times": [Fraction(k, 25) for k in range(25)],
        "size": (96, 64),
        "title": "A talk",
        "sounds": [("eng", "Original"), ("deu", "Synchronfassung")],
        "default": [False, True],
        "chapters": [("Beginning", 0, half), ("End", half, 2 * half)],
    }
    assert {name: before[name] for name in kept} == kept
    assert before["subtitles"] == ["fra"]
    assert [len(each) for each in before["packets"]] == [47, 47]
    outputs = {"--composition": tmp_path / "green.mkv", "--foreground": tmp_path / "fgr.mp4"}
    words = [each for pair in outputs.items() for each in pair]
    result = run("matte", source, "--model", "seeded", "--downsample-ratio", "0.5", *words)
    assert result.code == 0
    for path, tag in zip(outputs.values(), ("", "hvc1"), strict=True):
        after = described(path)
        assert after["codec"] == ("hevc", "Main 10", "yuv420p10le", tag)
        assert not after["interlaced"]
        assert {name: after[name] for name in kept} == kept
        assert after["packets"] == before["packets"]
        assert after["subtitles"] == (["fra"] if path.suffix == ".mkv" else [])
    assert "fgr.mp4 cannot hold srt subtitles, which are left out" in result.err
    assert "green.mkv" not in result.err
