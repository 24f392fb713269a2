"""The export commands, one for each format: common options, and those of the format's spec."""

from collections.abc import Iterator
from dataclasses import field, fields, make_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from exporters import FORMATS
from exporters.format import Format
from exporters.spec import BakedSpec, ExportSpec, FixableSpec
from tools.cli.options import (
    OUTPUT,
    PRECISION,
    RATIO,
    RESOLUTION,
    CheckpointOption,
    ForceOption,
    RefinerOption,
    TrustOption,
    VariantOption,
    app,
    given_by_user,
    one_of,
)
from tools.shared.sizes import parse_baked_ratios, parse_sizes
from tools.shared.stdout import print_result
from tools.targets.targets import read_targets

ResolutionOption = Annotated[
    list[str], typer.Option(*RESOLUTION, metavar="WxH", help="Fix the frame size; repeatable, one file each.")
]
RatiosOption = Annotated[
    list[str], typer.Option(*RATIO, metavar="R|auto", help="Fix the ratio; the n-th belongs to the n-th resolution.")
]
CardOption = Annotated[
    bool, typer.Option("--card", help="Write a model card beside the file: its facts, its loop, its parity.")
]
BatchOption = Annotated[int | None, typer.Option(help="Fix the batch size.")]


def add_export_command(name: str, description: Format) -> None:
    """Add the command that exports one format. Its options are the fields of a class made for it."""
    given_options = make_dataclass("Given", [*_options(description)], kw_only=True)

    @wraps(given_options)
    def export(**values: Any) -> None:
        from tools.commands.export import ExportOptions, export_all

        given = given_options(**values)
        specs = _specs(description, given)
        options = ExportOptions(
            output=given.output, force=given.force, prove=given.verify, trust=given.trust, card=given.card
        )
        for path in export_all(name, specs, given.checkpoint, options):
            print_result(path)

    help_text = f"{description.help} Prints the files' paths."
    app.command(name, help=help_text, short_help=f"Export {description.title}.")(export)


def _options(description: Format) -> Iterator[tuple[str, Any, Any]]:
    """Yield the name, annotation and default of each option, in the order of the help."""
    yield "context", typer.Context, field()
    yield "variant", VariantOption, field(default="mobilenetv3")
    yield "refiner", RefinerOption, field(default="deep_guided_filter")
    yield "checkpoint", CheckpointOption, field(default="auto")
    yield "trust", TrustOption, field(default=False)
    yield (
        "precision",
        _choice(list[str], description.precisions, "Precision of the file; repeatable, one file each.", *PRECISION),
        field(default=description.precisions[:1]),
    )
    yield (
        "output",
        Annotated[
            Path, typer.Option(*OUTPUT, help=f"Where to write: a file that ends in {description.suffix}, or a folder.")
        ],
        field(default=Path()),
    )
    yield "force", ForceOption, field(default=False)
    yield (
        "verify",
        Annotated[bool, typer.Option(help="Compare with PyTorch over a clip; a mismatch leaves no file.")],
        field(default=True),
    )
    yield "card", CardOption, field(default=False)
    if issubclass(description.spec, FixableSpec):
        yield "resolution", ResolutionOption, field(default=())
        yield "downsample_ratio", RatiosOption, field(default=())
        yield "batch", BatchOption, field(default=None)
    if description.profiles:
        consumers = "; ".join(f"{profile}: {each.help}" for profile, each in description.profiles.items())
        text = f"Set the options that suit one consumer. {consumers}."
        yield "profile", _choice(str | None, description.profiles, text), field(default=None)
    for each in _own_fields(description):
        switch = f"--{each.name.replace('_', '-')}"
        yield (
            each.name,
            Annotated[each.type, typer.Option(switch, help=each.metadata["help"])],
            field(default=each.default),
        )


def _own_fields(description: Format) -> list[Any]:
    """Return the fields of a format's spec that are options of the command."""
    return [each for each in fields(description.spec) if "help" in each.metadata]


def _choice(kind: Any, choices: Any, text: str, *names: str) -> Any:
    return Annotated[kind, typer.Option(*names, metavar="|".join(choices), callback=one_of(*choices), help=text)]


def _specs(description: Format, given: Any) -> list[ExportSpec]:
    """Return a spec for each file to make: one for each precision and size."""
    sizes = _sizes(description.spec, given)
    names = [each.name for each in _own_fields(description)]
    options = {name: getattr(given, name) for name in names}
    by_user = {name: value for name, value in options.items() if given_by_user(given.context, name)}
    profile = given.profile if description.profiles else None
    specs: list[ExportSpec] = []
    for precision in given.precision:
        of_all_sizes = []
        for size in sizes:
            fixed = size.get("fixed")
            chosen = description.profiles[profile].options(profile, precision, by_user, fixed) if profile else {}
            common = {"variant": given.variant, "refiner": given.refiner, "precision": precision}
            of_all_sizes.append(description.spec(**common, **size, **options | chosen))
        specs += description.spec.together(of_all_sizes)
    return specs


def _sizes(spec: type[ExportSpec], given: Any) -> list[dict[str, Any]]:
    """Return the fields of the spec that describe a size, for each file of a precision."""
    if not issubclass(spec, FixableSpec):
        return [{}]
    if issubclass(spec, BakedSpec) and given.downsample_ratio and not given.resolution:
        parse_sizes((), (), given.batch)
        return [{"ratio": ratio} for ratio in parse_baked_ratios(given.downsample_ratio)]
    return [{"fixed": size} for size in parse_sizes(given.resolution, given.downsample_ratio, given.batch)]


for _name, _description in FORMATS.items():
    add_export_command(_name, _description)


@app.command(
    "for",
    short_help="Make a folder for one consumer: file, card, project.",
    help="Make a folder with the right file for a consumer, proved; its card, golden frames to check with, and a small "
    "project that plays it. Prints the folder's path.",
)
def for_target(
    target: Annotated[str, typer.Argument(metavar="TARGET", help=f"Consumer: {', '.join(read_targets())}.")],
    checkpoint: CheckpointOption = "auto",
    trust: TrustOption = False,
    output: Annotated[
        Path | None, typer.Option(*OUTPUT, metavar="DIR", help="Folder to make. Default: matte-TARGET.")
    ] = None,
    resolution: Annotated[
        str, typer.Option(*RESOLUTION, metavar="WxH", help="Frame size of a file for one size. Default: the target's.")
    ] = "",
    downsample_ratio: Annotated[
        str, typer.Option(*RATIO, metavar="R|auto", help="Ratio of a file for one size. Default: the target's.")
    ] = "",
    force: ForceOption = False,
) -> None:
    from tools.commands.targets import TargetOptions, make_folder

    options = TargetOptions(
        output=output,
        checkpoint=checkpoint,
        trust=trust,
        resolution=resolution,
        downsample_ratio=downsample_ratio,
        force=force,
    )
    print_result(make_folder(target, options))
