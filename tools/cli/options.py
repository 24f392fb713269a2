"""The app, and the options that several commands share.

A command imports its code only when it runs, so that help needs no heavy import.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from exporters import FORMATS
from rvm_model.state import Refiner, Variant

ALIASES = {"out": "output"}
"""Older names of options, which still work."""

HELP = ["--help", "-h"]
CHECKPOINT = ("--checkpoint", "-c")
FORCE = ("--force", "-f")
JOBS = ("--jobs", "-j")
MODEL = ("--model", "-m")
OUTPUT = ("--output", "-o")
PRECISION = ("--precision", "-p")
RATIO = ("--downsample-ratio", "-d")
RESOLUTION = ("--resolution", "-r")
"""Names of the commonest options, which have a short form."""

app = typer.Typer(
    name="rvm-export",
    help="Export Robust Video Matting, and prove that each file computes what PyTorch computes.",
    context_settings={"token_normalize_func": lambda name: ALIASES.get(name, name), "help_option_names": HELP},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich's tables cut long option names on a narrow terminal
)

RUNTIMES = "; ".join(f"{each.title} has {', '.join(each.runtimes)}" for each in FORMATS.values())
CODE_WARNING = "A TorchScript file is code, and is run only with --trust."


def one_of(*choices: str) -> Any:
    """Return a callback that refuses any value but these, also inside a list."""

    def check(value: str | list[str] | None) -> str | list[str] | None:
        for each in [value] if isinstance(value, str) else value or []:
            if each not in choices:
                raise typer.BadParameter(f"{each!r} is not one of {', '.join(choices)}")
        return value

    return check


def given_by_user(context: typer.Context, option: str) -> bool:
    """Return whether the user gave an option on the command line, even with its default value."""
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


def device_option(text: str) -> Any:
    """Return the option `--device` of a command that runs on a CPU or a GPU."""
    return typer.Option(metavar="cpu|cuda", callback=one_of("cpu", "cuda"), help=text)


def report_option(text: str) -> Any:
    """Return an option that names a file to write, or `-` for stdout."""
    return typer.Option(metavar="FILE|-", help=text)


def weights_option(default: str) -> Any:
    """Return the option `--checkpoint` of a command that compares files with their weights.

    `default` says where the weights come from without it.
    """
    return typer.Option(
        *CHECKPOINT,
        metavar="PATH|official|seeded",
        help=f"Weights to compare with, or any file of the network. Default: those that {default}, else official.",
    )


def files(**given: Path | None) -> dict[str, Path]:
    """Return the options that name a file and were given, by their name."""
    return {kind: path for kind, path in given.items() if path is not None}


VariantOption = Annotated[Variant, typer.Option(help="Encoder of the network.")]
RefinerOption = Annotated[Refiner, typer.Option(help="Upsampler of the matte.")]
CheckpointOption = Annotated[
    str,
    typer.Option(
        *CHECKPOINT,
        metavar="PATH|official|seeded|auto",
        help="Weights: a .pth or .safetensors file, or any exported file, from which they are recovered. auto: "
        "official if they can be downloaded, else seeded.",
    ),
]
TrustOption = Annotated[bool, typer.Option("--trust", help="Open TorchScript files, which are code and are run.")]
ClipOption = Annotated[Path | None, typer.Option(help="Image folder or video. Default: the built-in clip.")]
FramesOption = Annotated[
    int | None,
    typer.Option(
        help="Frames to play, at least 12. Default: 24, or 12 if larger than 1280x720.",
        show_default=False,
    ),
]
RatioOption = Annotated[
    str,
    typer.Option(
        *RATIO, metavar="R|auto", help="Ratio in (0, 1]. auto: 512 / longer side, at most 1; .5 for the built-in clip."
    ),
]
ForceOption = Annotated[bool, typer.Option(*FORCE, help="Replace an existing file.")]
