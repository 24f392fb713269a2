"""Copying of what a file has beside its video: languages, titles, subtitles, data, attachments and chapters."""

import warnings
from fractions import Fraction

import av
import pytest
from av.stream import Disposition

from rvm_model.tests.clips import drawn, encode_clip, encode_programme
from rvm_model.tests.test_sink import copy
from rvm_model.video.source import open_source

CLIP = drawn(50, 64, 48)


@pytest.fixture(scope="module")
def programmes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programmes")
    return {suffix: encode_programme(folder / f"in.{suffix}", CLIP) for suffix in ("mkv", "mp4", "mov")}


def sounds(path):
    with av.open(str(path)) as file:
        return [
            (each.language, each.metadata.get("title", each.metadata.get("name")), each.disposition)
            for each in file.streams.audio
        ]


def chapters(path):
    """Return the titles, and their beginnings and ends in seconds."""
    with av.open(str(path)) as file:
        return [
            (each["metadata"]["title"], each["start"] * each["time_base"], each["end"] * each["time_base"])
            for each in file.chapters()
        ]


def subtitles(path):
    """Return the language, and the times in milliseconds and bytes of those that are not empty."""
    with av.open(str(path)) as file:
        (stream,) = file.streams.subtitles
        return stream.language, [
            (round(each.pts * each.time_base * 1000), round(each.duration * each.time_base * 1000), bytes(each))
            for each in file.demux(stream)
            if each.size > 2
        ]


def quietly(source, path, **window):
    """Copy, and return the path and the warnings."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        return copy(source, path, **window), [str(each.message) for each in told]


@pytest.mark.parametrize("before", ["mkv", "mp4", "mov"])
@pytest.mark.parametrize("after", ["mkv", "mp4", "mov"])
def test_languages_titles_and_chapters_survive(before, after, programmes, tmp_path):
    path, told = quietly(programmes[before], tmp_path / f"out.{after}")
    german = "deu" if after != "mov" and before != "mov" else "ger"  # QuickTime's code
    if before == "mov":
        german = "und" if after == "mp4" else None  # FFmpeg wrote none into the source
    kept = [(language, title) for language, title, _ in sounds(path)]
    assert kept == [("eng", "Original"), (german, "Synchronfassung")]
    assert [bool(each[2] & Disposition.default) for each in sounds(path)] == [False, True]
    assert chapters(path) == [("Beginning", 0, 1), ("End", 1, 2)]
    with av.open(str(path)) as file:
        told_of = {key.lower(): value for key, value in file.metadata.items()}
        assert (told_of["title"], told_of["artist"]) == ("A talk", "Somebody")
        assert told_of["encoder"] != "none", "what the source says of itself"
    if (before == "mkv") == (after == "mkv"):
        assert subtitles(path) == subtitles(programmes[before])
        assert subtitles(path)[0] == "fra"
        assert told == []
    else:
        name = "srt" if before == "mkv" else "mov_text"
        lost = [f"{path} cannot hold {name} subtitles, which are left out"]
        if before == "mkv":
            lost.append(f"{path} cannot hold font.ttf as an attachment, which is left out")
        assert told == lost
        with av.open(str(path)) as file:
            assert not file.streams.subtitles


def test_an_attachment_is_copied(programmes, tmp_path):
    with av.open(str(copy(programmes["mkv"], tmp_path / "out.mkv"))) as file:
        (font,) = file.streams.attachments
        assert (font.name, font.mimetype, font.data) == ("font.ttf", "font/ttf", b"a font")


def test_a_part_has_its_chapters_and_subtitles_by_its_own_clock(programmes, tmp_path):
    for suffix in ("mkv", "mp4"):
        path = copy(programmes[suffix], tmp_path / f"late.{suffix}", start=0.6)
        assert chapters(path) == [("Beginning", 0, Fraction(2, 5)), ("End", Fraction(2, 5), Fraction(7, 5))]
        text = subtitles(programmes[suffix])[1][0][2]
        assert subtitles(path)[1] == [(0, 400, text)]
        path = copy(programmes[suffix], tmp_path / f"early.{suffix}", end=0.8)
        assert chapters(path) == [("Beginning", 0, Fraction(4, 5))]
        path = copy(programmes[suffix], tmp_path / f"short.{suffix}", start=0.4, max_frames=20)
        assert chapters(path) == [("Beginning", 0, Fraction(3, 5)), ("End", Fraction(3, 5), Fraction(4, 5))]
        path = copy(programmes[suffix], tmp_path / f"last.{suffix}", start=1.2)
        assert chapters(path) == [("End", 0, Fraction(4, 5))]
        with av.open(str(path)) as file:
            assert [each.language for each in file.streams.audio] == ["eng", "deu"]


def test_avi_has_no_chapters_and_says_so(programmes, tmp_path):
    path, told = quietly(programmes["mp4"], tmp_path / "out.avi")
    assert f"{path} cannot hold chapters, which are left out" in told
    assert not chapters(path)


def test_subtitles_that_begin_at_once_are_all_kept(tmp_path):
    source = tmp_path / "in.mkv"
    with av.open(str(source), "w") as file:
        video = file.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        texts = file.add_mux_stream("subrip", time_base=Fraction(1, 1000))
        for frame in CLIP:
            file.mux(video.encode(av.VideoFrame.from_ndarray(frame)))
        file.mux(video.encode(None))
        for at, words in ((200, b"above"), (200, b"below"), (900, b"later")):
            packet = av.Packet(words)
            packet.stream, packet.time_base, packet.pts, packet.dts = texts, Fraction(1, 1000), at, at
            packet.duration = 500
            file.mux(packet)
    expected = [(200, 500, b"above"), (200, 500, b"below"), (900, 500, b"later")]
    assert subtitles(copy(source, tmp_path / "out.mkv"))[1] == expected
    assert subtitles(copy(source, tmp_path / "late.mkv", start=0.4))[1] == [
        (0, 300, b"above"),
        (0, 300, b"below"),
        (500, 500, b"later"),
    ]


def patched(path, *changes):
    content = path.read_bytes()
    for old, new in changes:
        assert old in content
        content = content.replace(old, new)
    path.write_bytes(content)
    return path


def test_data_is_copied_where_the_container_can(programmes, tmp_path):
    """Make the sensor track of an action camera out of subtitles."""
    source = tmp_path / "in.mp4"
    source.write_bytes(programmes["mp4"].read_bytes())
    patched(source, (b"hdlr\0\0\0\0\0\0\0\0sbtl", b"hdlr\0\0\0\0\0\0\0\0meta"), (b"tx3g", b"gpmd"))
    with av.open(str(source)) as file:
        (given,) = [each for each in file.streams.data if each.discard == 0]
        expected = [bytes(each) for each in file.demux(given) if each.size]
    path, told = quietly(source, tmp_path / "out.mp4")
    assert told == []
    with av.open(str(path)) as file:
        (kept,) = [each for each in file.streams.data if each.discard == 0]
        assert [bytes(each) for each in file.demux(kept) if each.size] == expected
    path, told = quietly(source, tmp_path / "out.mkv")
    assert told == [f"{path} cannot hold bin_data data, which are left out"]


@pytest.mark.parametrize(
    ("suffix", "codec", "holding", "name"),
    [
        ("ts", "klv", {"mov"}, "klv data"),
        ("ts", "timed_id3", set(), "timed_id3 data"),
        ("ts", "dvb_teletext", set(), "unknown subtitles"),
        ("ts", "dvb_subtitle", {"mkv"}, "dvbsub subtitles"),
        ("mkv", "webvtt", {"mkv", "webm"}, "webvtt subtitles"),
        ("mkv", "ass", {"mkv"}, "ssa subtitles"),
        ("mkv", "dvd_subtitle", {"mkv", "mp4"}, "dvdsub subtitles"),
        ("mov", "eia_608", {"mov"}, "cc_dec subtitles"),
    ],
)
def test_every_kind_of_track_is_copied_or_named(suffix, codec, holding, name, tmp_path):
    source = tmp_path / f"in.{suffix}"
    payload = b"\0\0\0\x0acdat\x80\x80" if codec == "eia_608" else bytes(range(20))
    with av.open(str(source), "w", format="mpegts" if suffix == "ts" else None) as file:
        video = file.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        track = file.add_data_stream(codec) if "data" in name else file.add_mux_stream(codec)
        for frame in CLIP[:20]:
            file.mux(video.encode(av.VideoFrame.from_ndarray(frame)))
        file.mux(video.encode(None))
        for at in (100, 300, 500):
            packet = av.Packet(payload)
            packet.stream, packet.time_base, packet.pts, packet.dts = track, Fraction(1, 1000), at, at
            packet.duration = 100
            file.mux(packet)
    for after in ("mp4", "mkv", "mov", "webm", "avi"):
        path, told = quietly(source, tmp_path / f"out.{after}")
        with av.open(str(path)) as file:
            assert len(file.streams) == 1 + (after in holding)
            if after in holding:
                contents = [bytes(each) for each in file.demux(file.streams[1]) if each.size]
                assert len(contents) >= 2
                assert all(payload[4:8] in each for each in contents)
        assert told == ([] if after in holding else [f"{path} cannot hold {name}, which are left out"])


def test_the_timecode_of_a_whole_clip_is_kept(tmp_path):
    source = encode_clip(tmp_path / "in.mov", CLIP[:10])
    with av.open(str(source)) as given, av.open(str(tmp_path / "told.mov"), "w") as file:
        stream = file.add_stream_from_template(given.streams.video[0])
        stream.metadata["timecode"] = "01:02:03:04"
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = stream
                file.mux(packet)
    for window, expected in (({}, "01:02:03:04"), ({"start": 0.2}, None)):
        with av.open(str(copy(tmp_path / "told.mov", tmp_path / "out.mov", **window))) as file:
            assert file.streams.video[0].metadata.get("timecode") == expected


def test_chapters_that_make_no_sense_are_left_out(programmes, tmp_path, monkeypatch):
    wrong = [
        {"id": 1, "start": 2000, "end": 1000, "time_base": Fraction(1, 1000), "metadata": {}},
        {"id": 2, "start": -500, "end": 500, "time_base": Fraction(1, 1000), "metadata": {"title": "kept"}},
        {"id": 3, "start": 0, "end": 500, "time_base": None, "metadata": {}},
        {"id": 4, "start": 0, "end": 2**62, "time_base": Fraction(1, 1000), "metadata": {}},
    ]
    monkeypatch.setattr("rvm_model.video.tracks.chapters_of", lambda _: wrong)
    assert chapters(copy(programmes["mkv"], tmp_path / "out.mkv")) == [("kept", 0, Fraction(1, 2))]


def test_a_clip_without_anything_beside_is_opened_once(tmp_path):
    with open_source(encode_clip(tmp_path / "in.mkv", CLIP[:5])) as source:
        assert source.tracks is None
