"""Write `docs/reference/cli.md` from the commands themselves: `python docs/cli_reference.py`."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

import tools.cli.main  # noqa: F401 - adds the commands
from tools.cli.options import app

PAGE = Path(__file__).parent / "reference" / "cli.md"
INTRODUCTION = """# Commands

`python docs/cli_reference.py` writes this page from the commands. A test fails when it is stale.
"""

_TYPES = {int: "NUMBER", float: "NUMBER", str: "TEXT", Path: "PATH"}


def main() -> None:
    """Write the page."""
    PAGE.write_text(render())


def render() -> str:
    """Return the page: a section for each command, with its usage, help, arguments and options."""
    root = typer.main.get_command(app)
    sections = [section for name, command in commands(root) for section in _section(name, command)]
    return "\n".join([INTRODUCTION, *sections])


def commands(root: Any, name: str = "rvm-export") -> Iterator[tuple[str, Any]]:
    """Yield every command with its full name, in the order of `rvm-export --help`."""
    yield name, root
    for child, command in getattr(root, "commands", {}).items():
        yield from commands(command, f"{name} {child}")


def _section(name: str, command: Any) -> Iterator[str]:
    words = " ".join(getattr(parameter, "metavar", None) or "" for parameter in _of_kind(command, "argument"))
    children = " COMMAND" if getattr(command, "commands", None) else ""
    yield f"## {name}\n"
    yield f"```text\n{name} [OPTIONS]{children}{f' {words}' if words else ''}\n```\n"
    yield f"{_text(command.help or '')}\n"
    if _of_kind(command, "argument"):
        yield "| argument | what it is |\n|---|---|"
        for parameter in _of_kind(command, "argument"):
            yield f"| `{_cell(parameter.metavar or parameter.name)}` | {_text(parameter.help or '')} |"
        yield ""
    if _of_kind(command, "option"):
        yield "| option | values | default | what it does |\n|---|---|---|---|"
        for parameter in _of_kind(command, "option"):
            switches = ", ".join(f"`{each}`" for each in (*parameter.opts, *parameter.secondary_opts))
            row = (switches, _values(parameter), _default(parameter), _text(parameter.help or ""))
            yield f"| {' | '.join(row)} |"
        yield ""


def _of_kind(command: Any, kind: str) -> list[Any]:
    return [each for each in command.params if each.param_type_name == kind and not getattr(each, "hidden", False)]


def _values(parameter: Any) -> str:
    if parameter.is_flag:
        return ""
    kind = parameter.type_descriptor.annotation
    choices = "|".join(map(str, get_args(kind))) if get_origin(kind) is Literal else _TYPES.get(kind, "VALUE")
    return ", ".join(f"`{word}`" for word in (parameter.metavar or choices).split("|"))


def _default(parameter: Any) -> str:
    default = parameter.default
    if default in (None, False, "", [], ()):
        return ""
    if default is True:
        return f"`{parameter.opts[0]}`"
    return f"`{_cell(', '.join(map(str, default if isinstance(default, list | tuple) else [default])))}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _text(text: str) -> str:
    """Return help as Markdown: one line, with nothing taken for markup."""
    return _cell(re.sub(r"([<>*_])", r"\\\1", " ".join(text.split())))


if __name__ == "__main__":
    main()
