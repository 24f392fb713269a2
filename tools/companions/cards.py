"""Model cards: a Markdown file beside each model, with its facts, its call, and its parity with PyTorch.

Each format's folder has a `card.md.jinja`, which fills the blocks of the common one here.
"""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import exporters
from exporters import FORMATS
from exporters.artifact import INPUTS, LINE
from exporters.support.licence import SOURCE
from parity_tests.reports.markdown import escaped
from tools.companions.entry import DescribedFile, Tensor
from tools.pages.render import finalize

TEMPLATE = "card.md.jinja"

_FOLDERS = (Path(__file__).parent, Path(next(iter(exporters.__path__))))
_IMAGES = ("src", "fgr", "pha")
_BYTES = ("uint8", "8-bit image")


def to_card(entry: DescribedFile, seeded: bool) -> str:
    """Return the model card of a file. The same file gives the same card: it contains no date, machine or folder.

    Args:
        entry: The file.
        seeded: Whether its weights are seeded.
    """
    return (
        _environment()
        .get_template(f"{entry.format}/{TEMPLATE}")
        .render(
            entry=entry,
            file=entry.file,
            spec=entry.spec,
            fixed=entry.spec.get("fixed"),
            title=FORMATS[entry.format].title,
            seeded=seeded,
            stateful=bool(entry.spec.get("stateful")),
            gives_line=LINE[0] == entry.outputs[0].name,
            ratio_is_input=INPUTS[5] in {tensor.name for tensor in entry.inputs},
            dtype=entry.inputs[0].dtype,
            runtimes=sorted({parity.runtime for parity in entry.parity}),
            source=SOURCE,
        )
    )


def _environment() -> Environment:
    # A foreign text, such as a clip's name, goes through `md`: HTML escapes do not work in Markdown.
    environment = Environment(  # noqa: S701
        loader=FileSystemLoader(_FOLDERS),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        finalize=finalize,
    )
    environment.filters |= {"md": escaped, "shape": _shape, "range": _range}
    return environment


def _shape(tensor: Tensor) -> str:
    """Return the axes for readers: a state's axis names lose the state's name."""
    axes = [str(axis).removeprefix(f"{tensor.name}_") for axis in tensor.shape]
    return f"({', '.join(axes)})" if axes else "a number"


def _range(tensor: Tensor) -> str:
    if tensor.name in _IMAGES:
        return "0 to 255" if tensor.dtype in _BYTES else "[0, 1]"
    if tensor.name in LINE:
        return "any"
    return "(0, 1]" if tensor.name == INPUTS[5] else "[-1, 1]"
