"""Write `docs/reference/formats.md` from the formats themselves: `python docs/formats_table.py`."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path

import exporters
from exporters import FORMATS
from exporters.format import Format
from exporters.spec import COEFFICIENTS, ExportSpec, Fixed, SpecError

PAGE = Path(__file__).parent / "reference" / "formats.md"
INTRODUCTION = """# What each format has

`python docs/formats_table.py` writes this page from the formats. A test fails when it is stale.
"""

_COLUMNS = (
    *("format", "any size", "one size", "fp32", "fp16", "int8", "states inside", "coefficients", "`recover`"),
    *("verified in", "not run on"),
)
_FIXED = Fixed(width=1280, height=720, ratio=0.375)
_ANY_SIZE: Mapping[str, Mapping[str, object]] = {"yes": {}, "at one ratio": {"ratio": 0.25}}
"""Options of a file for any size by what a cell says. The first that a format accepts counts."""


def main() -> None:
    """Write the page."""
    PAGE.write_text(render())


def render() -> str:
    """Return the page: a row for each format."""
    rows = ["| " + " | ".join(_COLUMNS) + " |", "|---" * len(_COLUMNS) + "|"]
    rows += ["| " + " | ".join(_cells(name, description)) + " |" for name, description in FORMATS.items()]
    return "\n".join([INTRODUCTION, *rows, "", _NOTES])


_NOTES = """\
* *at one ratio*: the downsample ratio is baked into a file for any size.
* *states inside*: the option `--stateful` keeps the recurrent states in the model.
* *coefficients*: `--outputs coefficients` ends before the [full-size steps](../tasks/coefficients.md).
* *verified in*: the runtimes of `rvm-export verify`, see [Verify files](../tasks/verify.md#runtimes).
* *not run on*: runtimes and devices that such files are made for, and that the authors had none of.
"""


def _cells(name: str, description: Format) -> Iterator[str]:
    yield f"[{description.title}](../formats/{name}.md)"
    yield next((word for word, options in _ANY_SIZE.items() if _accepts(description, **options)), "")
    yield _yes(_accepts(description, fixed=_FIXED))
    for precision in ("fp32", "fp16", "int8"):
        yield _yes(precision in description.precisions)
    yield _yes("stateful" in {field.name for field in fields(description.spec)})
    fixed = {"fixed": _FIXED} if description.one_size else {}
    yield _yes(_accepts(description, outputs=COEFFICIENTS, **fixed))
    yield ("yes, with `--trust`" if description.is_code else "yes") if _recovers(name) else ""
    yield ", ".join(f"`{each}`" for each in description.runtimes if each not in description.not_run)
    yield ", ".join(f"`{each}`" if each in description.runtimes else each for each in description.not_run)


def _accepts(description: Format, **options: object) -> bool:
    """Return True if the format has files with these options."""
    spec: type[ExportSpec] = description.spec
    if not {*options} <= {field.name for field in fields(spec)}:
        return False
    try:
        spec(variant="mobilenetv3", refiner="deep_guided_filter", precision=description.precisions[0], **options)
    except SpecError:
        return False
    return True


def _recovers(name: str) -> bool:
    return (Path(next(iter(exporters.__path__))) / name / "recovery.py").exists()


def _yes(has: bool) -> str:
    return "yes" if has else ""


if __name__ == "__main__":
    main()
