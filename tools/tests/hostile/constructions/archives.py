"""Zip files that lie, unpack to too much, or lead outside."""

import io
import lzma
import pickle
import zipfile
import zlib
from functools import cache
from pathlib import Path

import torch

from tools.tests.hostile.constructions.construction import ESC, Build, Construction, Entry, raw_zip
from tools.tests.hostile.home import ESCAPED, SECRET, Home
from tools.tests.hostile.spoil_bytes import Code, repacked, with_entries

_BLOCK = 16 << 20
_BLOCKS = 240
"""Unpacked bytes of a bomb: a little less than 4 GB, so that it needs no zip64."""

_GIGABYTES = b"\x80\x02cbuiltins\nbytearray\n\x8a\x05" + (3_000_000_000).to_bytes(5, "little") + b"\x85R."
"""A pickle that takes 3 GB. PyTorch reads it although it takes only weights."""


@cache
def _deflated_zeros() -> Entry:
    """Return an entry of 4 GB of zeros in 4 MB. Its checksum is right, so only the end shows what it is."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(_BLOCK)) + packer.flush(zlib.Z_FULL_FLUSH)
    crc = 0
    for _ in range(_BLOCKS):
        crc = zlib.crc32(bytes(_BLOCK), crc)
    return Entry(name=b"", data=block * _BLOCKS + packer.flush(), method=8, size=_BLOCK * _BLOCKS, crc=crc)


@cache
def _lzma_zeros() -> Entry:
    """Return an entry of 1.7 GB of zeros in 250 KB."""
    options = {"id": lzma.FILTER_LZMA1, "dict_size": 4096, "mode": lzma.MODE_FAST, "mf": lzma.MF_HC3, "depth": 1}
    packer = lzma.LZMACompressor(format=lzma.FORMAT_RAW, filters=[options])
    blocks = 105
    packed = b"".join(packer.compress(bytes(_BLOCK)) for _ in range(blocks)) + packer.flush()
    header = b"\x09\x04\x05\x00" + bytes([(2 * 5 + 0) * 9 + 3]) + (4096).to_bytes(4, "little")
    crc = 0
    for _ in range(blocks):
        crc = zlib.crc32(bytes(_BLOCK), crc)
    return Entry(name=b"", data=header + packed, method=14, size=_BLOCK * blocks, crc=crc, flags=2)


def _bombed(home: Home, name: str, entry: Entry, count: int) -> Path:
    """Write a file of PyTorch's with bombs beside its own entries."""
    small = io.BytesIO()
    torch.save({"x": torch.zeros(1)}, small)
    with zipfile.ZipFile(small) as archive:
        own = [Entry(name=each.encode(), data=archive.read(each)) for each in archive.namelist()]
    if name.endswith(".pt2"):
        own += [Entry(name=b"archive/archive_format", data=b"pt2")]
    if name.endswith(".torchscript"):
        own += [Entry(name=b"archive/constants.pkl", data=b"\x80\x02).")]
        own += [Entry(name=b"archive/code/__torch__.py", data=b"")]
    # Entries are named apart, and share their packed content, as far as a reader does not mind.
    bombs = [
        Entry(**{**vars(entry), "name": f"archive/data/{k + 1}".encode()})  # type: ignore[arg-type]
        for k in range(count)
    ]
    path = home.files / name
    path.write_bytes(raw_zip([*own, *bombs]))
    return path


def deflate_bomb_in_weights(home: Home) -> Construction:
    return Construction("weights", _bombed(home, "x.pth", _deflated_zeros(), 4))


def lzma_bomb_in_weights(home: Home) -> Construction:
    return Construction("weights", _bombed(home, "x.pth", _lzma_zeros(), 1))


def deflate_bomb_in_torchscript(home: Home) -> Construction:
    return Construction("model", _bombed(home, "x.torchscript", _deflated_zeros(), 4))


def lzma_bomb_in_torchscript(home: Home) -> Construction:
    return Construction("model", _bombed(home, "x.torchscript", _lzma_zeros(), 1))


def deflate_bomb_in_pt2(home: Home) -> Construction:
    return Construction("model", _bombed(home, "x.pt2", _deflated_zeros(), 4))


def deflate_bomb_in_model(home: Home) -> Construction:
    entry = Entry(**{**vars(_deflated_zeros()), "name": b"group1-shard1of1.bin"})  # type: ignore[arg-type]
    path = home.files / "x.zip"
    path.write_bytes(raw_zip([Entry(name=b"model.json", data=b"{}"), entry]))
    return Construction("tfjs", path)


def lying_bomb_in_model(home: Home) -> Construction:
    """Claim that a bomb unpacks to 100 bytes."""
    entry = Entry(**{**vars(_deflated_zeros()), "name": b"group1-shard1of1.bin", "size": 100})  # type: ignore[arg-type]
    path = home.files / "x.zip"
    path.write_bytes(raw_zip([Entry(name=b"model.json", data=b"{}"), entry]))
    return Construction("tfjs", path)


def overlapping_bomb(home: Home) -> Construction:
    """Let a thousand entries share the same 10 MB, packed to 10 KB."""
    data = zlib.compress(bytes(10_000_000))[2:-4]
    first = Entry(name=b"model.json", data=data, method=8, size=10_000_000, crc=zlib.crc32(bytes(10_000_000)))
    others = [Entry(**{**vars(first), "name": f"{k}".encode(), "at": 0}) for k in range(900)]  # type: ignore[arg-type]
    path = home.files / "x.zip"
    path.write_bytes(raw_zip([first, *others]))
    return Construction("tfjs", path)


def many_entries(home: Home) -> Construction:
    path = home.files / "x.zip"
    path.write_bytes(
        raw_zip([Entry(name=b"model.json", data=b"{}"), *(Entry(name=f"{k}".encode()) for k in range(60_000))])
    )
    return Construction("tfjs", path)


def many_entries_in_weights(home: Home) -> Construction:
    path = home.files / "x.pth"
    path.write_bytes(with_entries((home.good / "weights.pth").read_bytes(), {f"x/{k}": b"" for k in range(60_000)}))
    return Construction("weights", path)


def _escaping(name: str, source: str = "tfjs.zip") -> Build:
    def build(home: Home) -> Construction:
        place = name.format(home=home.root, escaped=home.escaped)
        path = home.files / "x.zip"
        path.write_bytes(with_entries((home.good / source).read_bytes(), {place: b"out"}))
        return Construction("tfjs" if source == "tfjs.zip" else "model", path)

    return build


def link_entry(home: Home) -> Construction:
    """Add an entry that is an absolute symbolic link, and one that is to be written through it."""
    outside = str(home.outside).encode()
    path = home.files / "x.zip"
    entries = [
        Entry(name=b"model.json", data=(home.good / "tfjs" / "model.json").read_bytes()),
        Entry(name=b"link", data=outside, mode=0o120777),
        Entry(name=b"link/escaped", data=b"out"),
        Entry(name=b"group1-shard1of1.bin", data=outside + b"/" + SECRET.encode(), mode=0o120777),
    ]
    path.write_bytes(raw_zip(entries))
    return Construction("tfjs", path)


def two_of_a_name(home: Home) -> Construction:
    """Give a harmless and a hostile graph the same name."""
    good = (home.good / "tfjs" / "model.json").read_bytes()
    shard = (home.good / "tfjs" / "group1-shard1of1.bin").read_bytes()
    evil = good.replace(b"group1-shard1of1.bin", f"../outside/{SECRET}".encode())
    path = home.files / "x.zip"
    entries = [Entry(name=b"model.json", data=each) for each in (good, evil)]
    path.write_bytes(raw_zip([*entries, Entry(name=b"group1-shard1of1.bin", data=shard)]))
    return Construction("tfjs", path)


def two_pickles_of_a_name(home: Home) -> Construction:
    """Give a harmless pickle and one with code the same name, which readers may take differently."""
    with zipfile.ZipFile(home.good / "weights.pth") as archive:
        entries = [Entry(name=name.encode(), data=archive.read(name)) for name in archive.namelist()]
    (name,) = (each.name for each in entries if each.name.endswith(b"data.pkl"))
    path = home.files / "x.pth"
    path.write_bytes(raw_zip([*entries, Entry(name=name, data=pickle.dumps(Code(str(home.escaped)), 2))]))
    return Construction("weights", path)


def _with_pickle(home: Home, pickled: bytes, name: str = "data.pkl") -> bytes:
    """Return a good .pth with another pickle of the same length."""
    with zipfile.ZipFile(home.good / "weights.pth") as archive:
        entries = {each: archive.read(each) for each in archive.namelist()}
    changed = {
        each.replace("data.pkl", name): pickled.ljust(len(content), b"\0") if each.endswith("data.pkl") else content
        for each, content in entries.items()
    }
    return raw_zip([Entry(name=each.encode(), data=content) for each, content in changed.items()])


def pickle_in_capitals(home: Home) -> Construction:
    """Name a pickle that takes 3 GB as PyTorch reads it too, which ignores case."""
    (home.files / "x.pth").write_bytes(_with_pickle(home, _GIGABYTES, "DATA.PKL"))
    return Construction("weights", home.files / "x.pth")


def pickle_before_an_archive(home: Home) -> Construction:
    """Put a pickle, as checkpoints were before PyTorch 1.6, before a good archive: PyTorch would read the pickle."""
    header = b"".join(pickle.dumps(each, 2) for each in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001}))
    (home.files / "x.pth").write_bytes(header + _GIGABYTES + (home.good / "weights.pth").read_bytes())
    return Construction("weights", home.files / "x.pth")


def two_directories(home: Home) -> Construction:
    """Join two archives. `zipfile` reads the last, and PyTorch the first, since it counts from the file's beginning.

    The first has a pickle that takes 3 GB.
    """
    good = (home.good / "weights.pth").read_bytes()
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith("data.pkl"))
        pickled = archive.read(name)
    bomb, good = _with_pickle(home, _GIGABYTES), _with_pickle(home, pickled)
    (home.files / "x.pth").write_bytes(bomb[:-22] + good)  # without the end of the first
    return Construction("weights", home.files / "x.pth")


def encrypted_entry(home: Home) -> Construction:
    path = home.files / "x.zip"
    path.write_bytes(raw_zip([Entry(name=b"model.json", data=b"{}" * 50, flags=1)]))
    return Construction("tfjs", path)


def foreign_names(home: Home) -> Construction:
    """Name entries in bytes that are no text, and with what a terminal acts on."""
    names = (b"\xff\xfe\x80.bin", ESC.encode(), b"a\nb", b"nul", b"x" * 60_000)
    path = home.files / "x.zip"
    path.write_bytes(raw_zip([Entry(name=b"model.json", data=b"{}"), *(Entry(name=name, data=b"x") for name in names)]))
    return Construction("tfjs", path)


def method_of_a_name_that_terminals_act_on(home: Home) -> Construction:
    path = home.files / "x.zip"
    path.write_bytes(raw_zip([Entry(name=b"model.json", data=b"{}"), Entry(name=ESC.encode(), data=b"x", method=99)]))
    return Construction("tfjs", path)


def file_and_folder_of_a_name(home: Home) -> Construction:
    path = home.files / "x.zip"
    path.write_bytes(with_entries((home.good / "tfjs.zip").read_bytes(), {"a": b"x", "a/b": b"x"}))
    return Construction("tfjs", path)


def code_in_a_pickle(home: Home) -> Construction:
    path = home.files / "x.pth"
    content = (home.good / "weights.pth").read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith("data.pkl"))
    path.write_bytes(repacked(content, {name: lambda _: pickle.dumps(Code(str(home.escaped)), 2)}))
    return Construction("weights", path)


def code_in_a_bare_pickle(home: Home) -> Construction:
    """Write a pickle without an archive, as PyTorch did before 1.6."""
    (home.files / "x.pth").write_bytes(pickle.dumps(Code(str(home.escaped)), 2))
    return Construction("weights", home.files / "x.pth")


ARCHIVES: dict[str, Build] = {
    "16 GB deflated in a .pth": deflate_bomb_in_weights,
    "1.7 GB by LZMA in a .pth": lzma_bomb_in_weights,
    "16 GB deflated in a .torchscript": deflate_bomb_in_torchscript,
    "1.7 GB by LZMA in a .torchscript": lzma_bomb_in_torchscript,
    "16 GB deflated in a .pt2": deflate_bomb_in_pt2,
    "4 GB deflated in a model": deflate_bomb_in_model,
    "4 GB deflated that claim to be 100 bytes": lying_bomb_in_model,
    "900 entries that share their 10 MB": overlapping_bomb,
    "60,000 entries in a model": many_entries,
    "60,000 entries in a .pth": many_entries_in_weights,
    "an entry named ../escaped": _escaping(f"../{ESCAPED}"),
    "an entry with an absolute name": _escaping("{escaped}"),
    "an entry with backslashes": _escaping(f"..\\..\\{ESCAPED}"),
    "an entry that leads outside of a SavedModel": _escaping(f"variables/../../../{ESCAPED}", "savedmodel.zip"),
    "an entry that is an absolute link": link_entry,
    "two graphs of the same name": two_of_a_name,
    "two pickles of the same name": two_pickles_of_a_name,
    "a pickle named in capitals": pickle_in_capitals,
    "a pickle before an archive of PyTorch's": pickle_before_an_archive,
    "two archives, of which PyTorch reads the other": two_directories,
    "an encrypted entry": encrypted_entry,
    "entries whose names are no text": foreign_names,
    "an unknown method, and a name that terminals act on": method_of_a_name_that_terminals_act_on,
    "a file and a folder of the same name": file_and_folder_of_a_name,
    "code in the pickle of a .pth": code_in_a_pickle,
    "code in a bare pickle": code_in_a_bare_pickle,
}
