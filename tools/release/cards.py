"""stub until the branch `report` is merged"""

from tools.release.build import Built


def to_card(built: Built) -> str:
    return built.entry.file + "\n"
