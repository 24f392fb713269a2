"""Fill a template that extends `base.html.jinja`, which has the style sheet and the browser's security rules."""

import hashlib
from base64 import b64encode
from importlib.resources import files
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rvm_model.printable import printable


def render(package: str, template: str, **values: Any) -> str:
    """Return the page. The same values give the same bytes.

    Args:
        package: The template's package, such as `tools.release`.
        template: The template's file name.
        values: The template's variables. A text is escaped, unless it is `Markup`.
    """
    css = files("tools.pages").joinpath("page.css").read_text(encoding="utf-8")
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, ""), PackageLoader("tools.pages", "")]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        finalize=finalize,
    )
    css_hash = b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return environment.get_template(template).render(css=Markup(css), css_hash=css_hash, **values)  # noqa: S704


def finalize(value: Any) -> Any:
    """Escape unprintable characters in a text that a template shows; `Markup`, such as a chart, is our own."""
    return printable(value) if type(value) is str else value
