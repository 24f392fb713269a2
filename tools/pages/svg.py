"""Draw charts as SVG for a page. Their colours come from the page, in any colour scheme."""

import hashlib
import io
import re
from collections.abc import Callable

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Placeholders, used for nothing else: each becomes a variable of the page's style sheet.
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
# Remove unused ids, which would be duplicates in a page of several charts, and style sheets, which would apply to the
# whole page.
_SUPERFLUOUS = re.compile(
    r' id="[a-zA-Z][\w.]*_\d+"|<defs>\s*<style.*?</style>\s*</defs>\s*| xmlns(:\w+)?="[^"]*"', re.DOTALL
)


def draw_svg(name: str, size: tuple[float, float], draw: Callable[[Axes], bool]) -> Markup:
    """Return a chart as SVG, empty if there was nothing to draw. The same chart gives the same bytes.

    Args:
        name: A name that no other chart of the page has.
        size: Width and height in inches of 72 units, which is its size on a phone.
        draw: Draws on the axes, in `COLOURS`, and returns whether there was anything to draw.
    """
    with mpl.rc_context():
        mpl.rcdefaults()  # ignore this machine's matplotlibrc
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
