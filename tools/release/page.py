"""stub until the branch `report` is merged"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Failure:
    name: str
    error: str


def to_html(manifest, built, failures) -> str:
    return "x\n"
