"""Media of strangers have one door each: a list of formats for Pillow, `opening.py` for FFmpeg."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path
    for package in ("rvm_model", "exporters", "parity_tests", "tools")
    for path in (ROOT / package).rglob("*.py")
    if not {"tests", "examples"} & {*path.relative_to(ROOT).parts[1:]}  # programs for readers open their own files
)


def calls(function):
    """Yield the file and call of each `Image.open`, say, outside of the tests."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == function:
                yield path, node


def test_pillow_opens_listed_formats_only():
    """It would start Ghostscript for PostScript."""
    found = [*calls("Image.open")]
    assert len(found) >= 4
    for path, call in found:
        assert "formats" in {each.arg for each in call.keywords}, f"{path}:{call.lineno}"


def test_ffmpeg_reads_through_one_door():
    reading = [
        path for path, call in calls("av.open") if not (len(call.args) > 1 and ast.literal_eval(call.args[1]) == "w")
    ]
    assert reading == [ROOT / "rvm_model" / "video" / "opening.py"]
