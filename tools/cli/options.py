"""The app, and the options that several commands have, each written once.

What a command does is imported when it is asked for: help costs no heavy import.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from exporters import FORMATS
from rvm_model.state import Refiner, Variant

app = typer.Typer(
    name="rvm-export",
    help="Export Robust Video Matting, and prove that what came out computes what PyTorch computes.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its tables cut the names of options short on a narrow terminal
)

RUNTIMES = "; ".join(f"{each.title} has {', '.join(each.runtimes)}" for each in FORMATS.values())
CODE_WARNING = "A TorchScript file is code: open only what you trust."


def one_of(*choices: str) -> Any:
    """A callback that refuses anything else, in a list too."""

    def check(value: str | list[str] | None) -> str | list[str] | None:
        for each in [value] if isinstance(value, str) else value or []:
            if each not in choices:
                raise typer.BadParameter(f"{each!r} is not one of {', '.join(choices)}")
        return value

    return check


def given_by_user(context: typer.Context, option: str) -> bool:
    """Whether it stood on the command line, be it with its default's value."""
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


def device_option(text: str) -> Any:
    """`--device` of what runs on a CPU or a GPU."""
    return typer.Option(metavar="cpu|cuda", callback=one_of("cpu", "cuda"), help=text)


def report_option(text: str) -> Any:
    """Return an option that names a file to write, or `-` for stdout."""
    return typer.Option(metavar="FILE|-", help=text)


def weights_option(default: str) -> Any:
    """`--checkpoint` of what compares a file with its weights; `default` says where they come from without it."""
    return typer.Option(
        metavar="PATH|official|seeded",
        help=f"Weights they should hold, or any file of the network; by default what {default}, else official.",
    )


def files(**given: Path | None) -> dict[str, Path]:
    """Return what was asked for, of options that name a file, by their name."""
    return {kind: path for kind, path in given.items() if path is not None}


VariantOption = Annotated[Variant, typer.Option(help="Encoder.")]
RefinerOption = Annotated[Refiner, typer.Option(help="What brings the matte to full size.")]
CheckpointOption = Annotated[
    str,
    typer.Option(
        metavar="PATH|official|seeded|auto",
        help="Weights: a .pth or .safetensors file, or any file of the network, whose weights are taken out of it; "
        "auto is official if it can be had, else seeded.",
    ),
]
TrustOption = Annotated[
    bool, typer.Option("--trust", help="Take weights out of a TorchScript file, which is code and is run.")
]
ClipOption = Annotated[Path | None, typer.Option(help="Image folder or video; by default a built-in clip.")]
FramesOption = Annotated[
    int | None,
    typer.Option(
        help="How many frames to play, at least 12. Default: 24, or 12 of frames larger than 1280x720.",
        show_default=False,
    ),
]
RatioOption = Annotated[
    str,
    typer.Option(
        metavar="R|auto", help="In (0, 1]; auto is 512 / longer side, at most 1, and .5 for the built-in clip."
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace an existing file.")]
