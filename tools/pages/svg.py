"""Charts as SVG to stand in a page: their colours are the page's, in any colour scheme."""

import hashlib
import io
import re
from collections.abc import Callable

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Any colours that nothing else has: each becomes a variable of the page's style sheet.
COLOURS = {
    "fgr": "#000001",
    "pha": "#000002",
    "states": "#000003",
    "ink": "#000004",
    "rule": "#000005",
    "bad": "#000006",
    "muted": "#000007",
}

_NAMELESS = {"Date": None, "Creator": None, "Format": None, "Type": None}
# Ids that nothing refers to would be there twice in a page of several; a style sheet would be for the whole page.
_SUPERFLUOUS = re.compile(
    r' id="[a-zA-Z][\w.]*_\d+"|<defs>\s*<style.*?</style>\s*</defs>\s*| xmlns(:\w+)?="[^"]*"', re.DOTALL
)


def draw_svg(name: str, size: tuple[float, float], draw: Callable[[Axes], bool]) -> Markup:
    """Return a chart as SVG, empty if there was nothing to draw. The same chart gives the same bytes.

    Args:
        name: Tells it apart from the other charts of a page.
        size: Width and height in inches, of 72 units: as large as it is shown on a phone.
        draw: Draws on the axes, in `COLOURS`, and says whether there was anything to draw.
    """
    with mpl.rc_context():
        mpl.rcdefaults()  # whatever this machine's matplotlibrc says
        salt = hashlib.sha256(name.encode()).hexdigest()
        mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": salt, "font.size": 9.5})
        figure = Figure(figsize=size, layout="constrained")
        if not draw(figure.subplots()):
            return Markup()
        file = io.BytesIO()
        figure.savefig(file, format="svg", transparent=True, metadata=_NAMELESS)
    svg = _SUPERFLUOUS.sub("", file.getvalue().decode())
    for colour_name, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{colour_name})")
    return Markup(svg[svg.index("<svg") :])  # noqa: S704
