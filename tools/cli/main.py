"""`rvm-export`, the command. What it does is imported when it is asked for: help costs no heavy import.

stdout carries only what a script wants, paths and JSON; everything for people goes to stderr. Exit code 0 is good, 1 a
failed export or parity, 2 wrong use or bad input, 130 Ctrl-C.
"""

import inspect
import signal
import sys
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from exporters import FORMATS
from exporters.spec import FixableSpec, Format
from rvm_model import __version__
from rvm_model.errors import UserError
from rvm_model.state import Refiner, Variant
from tools.shared.console import say_error
from tools.shared.outputs import ExportFailed
from tools.shared.sizes import parse_sizes

app = typer.Typer(
    name="rvm-export",
    help="Export Robust Video Matting, and prove that what came out computes what PyTorch computes.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its tables cut the names of options short on a narrow terminal
)

INTERRUPTED = 130  # as typer and shells have it
RUNTIMES = "; ".join(f"{each.title} has {', '.join(each.runtimes)}" for each in FORMATS.values())
CODE_WARNING = "A TorchScript file is code: open only what you trust."
FramesOption = Annotated[
    int | None,
    typer.Option(
        help="How many frames to play, at least 12. Default: 24, or 12 of frames larger than 1280x720.",
        show_default=False,
    ),
]
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


SIZES: dict[str, Any] = {
    "resolution": Annotated[
        list[str], typer.Option(metavar="WxH", help="Make a file for this size only; repeatable, one file each.")
    ],
    "downsample_ratio": Annotated[
        list[str], typer.Option(metavar="R|auto", help="The ratio to bake in; the n-th goes with the n-th resolution.")
    ],
    "batch": Annotated[int | None, typer.Option(help="The batch to bake in.")],
}


def one_of(*choices: str) -> Any:
    """A callback that refuses anything else, in a list too."""

    def check(value: str | list[str] | None) -> str | list[str] | None:
        for each in [value] if isinstance(value, str) else value or []:
            if each not in choices:
                raise typer.BadParameter(f"{each!r} is not one of {', '.join(choices)}")
        return value

    return check


def add_export_command(name: str, description: Format) -> None:
    """The sub-command that makes files of one format: common options, and those of its spec."""
    usual = [*description.precisions[:1]]

    def export(
        context: typer.Context,
        variant: Annotated[Variant, typer.Option(help="Encoder.")] = "mobilenetv3",
        refiner: Annotated[Refiner, typer.Option(help="What brings the matte to full size.")] = "deep_guided_filter",
        checkpoint: CheckpointOption = "auto",
        trust: TrustOption = False,
        precision: Annotated[
            list[str],
            typer.Option(
                metavar="|".join(description.precisions),
                callback=one_of(*description.precisions),
                help="Repeatable, one file each.",
            ),
        ] = usual,
        output: Annotated[Path, typer.Option(help=f"A file that ends in {description.suffix}, or a folder.")] = Path(),
        force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
        verify: Annotated[bool, typer.Option(help="Play a clip against PyTorch; a mismatch leaves no file.")] = True,
        **options: Any,
    ) -> None:
        from tools.commands.export import export_all

        sizes = parse_sizes(*(options.pop(each) for each in SIZES)) if fixable else [None]
        profile = options.pop("profile", None)
        given = {name: value for name, value in options.items() if given_by_user(context, name)}
        specs = []
        for each in precision:
            of_all_sizes = [
                description.spec(
                    variant=variant,
                    refiner=refiner,
                    precision=each,
                    **({"fixed": size} if fixable else {}),
                    **options | (description.profiles[profile].options(profile, each, given, size) if profile else {}),
                )
                for size in sizes
            ]
            specs += description.spec.together(of_all_sizes)
        for path in export_all(name, specs, checkpoint, output, force, verify, trust):
            typer.echo(path)

    fixable = issubclass(description.spec, FixableSpec)
    if fixable:
        for size, option in SIZES.items():
            add_option(export, size, option, None if size == "batch" else [])
    if description.profiles:
        consumers = "; ".join(f"{profile}: {each.help}" for profile, each in description.profiles.items())
        option = Annotated[
            str | None,
            typer.Option(
                metavar="|".join(description.profiles),
                callback=one_of(*description.profiles),
                help=f"Options that suit one consumer. {consumers}.",
            ),
        ]
        add_option(export, "profile", option, None)
    for field in fields(description.spec):
        if "help" in field.metadata:
            switch = f"--{field.name.replace('_', '-')}"
            option = Annotated[field.type, typer.Option(switch, help=field.metadata["help"])]
            add_option(export, field.name, option, field.default)
    finish_options(export)
    help_text = f"{description.help} Prints the files' paths."
    app.command(name, help=help_text, short_help=f"Export {description.title}.")(export)


def add_option(command: Any, name: str, annotation: Any, default: Any) -> None:
    """Give a command one more option, in the place of its `**options`, where typer looks for it."""
    signature = inspect.signature(command)
    parameter = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
    *before, options = signature.parameters.values()
    command.__signature__ = signature.replace(parameters=[*before, parameter, options])
    command.__annotations__[name] = annotation


def given_by_user(context: typer.Context, option: str) -> bool:
    """Whether it stood on the command line, be it with its default's value."""
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


def finish_options(command: Any) -> None:
    """Take `**options` itself out of sight, since typer knows no such thing."""
    signature = inspect.signature(command)
    command.__signature__ = signature.replace(parameters=[*signature.parameters.values()][:-1])
    del command.__annotations__["options"]


for _name, _description in FORMATS.items():
    add_export_command(_name, _description)


@app.command(
    short_help="Compare files with PyTorch over a clip.",
    help=f"Play a clip through PyTorch and through exported files, and compare all outputs. {CODE_WARNING}",
)
def verify(
    artifacts: Annotated[
        list[Path], typer.Argument(metavar="ARTIFACT...", help="Files of any format, ours or RVM v1.0.0's.")
    ],
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="PATH|official|seeded",
            help="Weights they should hold, or any file of the network; by default what their metadata names, else "
            "official.",
        ),
    ] = None,
    trust: TrustOption = False,
    clip: Annotated[Path | None, typer.Option(help="Image folder or video; by default a built-in clip.")] = None,
    frames: FramesOption = None,
    downsample_ratio: Annotated[
        str,
        typer.Option(
            metavar="R|auto", help="In (0, 1]; auto is 512 / longer side, at most 1, and .5 for the built-in clip."
        ),
    ] = "auto",
    device: Annotated[
        str, typer.Option(metavar="cpu|cuda", callback=one_of("cpu", "cuda"), help="Where both sides run.")
    ] = "cpu",
    runtime: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"What plays the files, by default each format's first: {RUNTIMES}."),
    ] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE|-", help="Write the reports as a JSON list.")] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE|-", help="Write them as JUnit XML, for CI.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE|-", help="Write them as a Markdown table.")] = None,
) -> None:
    from tools.commands.verify import verify_all

    given = {"json": json, "junit": junit, "markdown": markdown}
    reports = {kind: path for kind, path in given.items() if path is not None}
    raise typer.Exit(verify_all(artifacts, checkpoint, clip, frames, downsample_ratio, device, runtime, reports, trust))


@app.command(
    short_help="Matte videos, image folders and pictures.",
    help="Matte videos, image folders and pictures with an exported file or a checkpoint. The suffix of an output says "
    "what it becomes: .mp4, .mkv, .mov, .webm or .avi a video (H.264, WebM VP9), none a folder of PNG, .png or .jpg a "
    "picture. A composition without a background is transparent in .mov (ProRes 4444), .webm and PNG, and over green "
    f"elsewhere. Several inputs, or a folder of videos, run side by side. Exit code 1 is a damaged input, of which the "
    f"part before the damage was written. {CODE_WARNING}",
)
def matte(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT...", help="Videos, pictures, folders of pictures or of videos.")
    ],
    model: Annotated[
        str,
        typer.Option(
            metavar="ARTIFACT|CHECKPOINT", help="A file of any format, a .pth or .safetensors file, official or seeded."
        ),
    ],
    composition: Annotated[
        str | None,
        typer.Option(metavar="OUT", help="The figure over the background. In any OUT, {name} is the input's own."),
    ] = None,
    alpha: Annotated[str | None, typer.Option(metavar="OUT", help="How opaque each pixel is, as grey.")] = None,
    foreground: Annotated[
        str | None, typer.Option(metavar="OUT", help="The figure's own colours, not premultiplied.")
    ] = None,
    background: Annotated[
        str | None, typer.Option(metavar="COLOUR|IMAGE|VIDEO|blur", help="What the composition is laid over.")
    ] = None,
    downsample_ratio: Annotated[
        str, typer.Option(metavar="R|auto", help="In (0, 1]; auto is 512 / longer side, at most 1.")
    ] = "auto",
    resize: Annotated[
        str | None, typer.Option(metavar="WxH", help="Scale the frames to this size, and write it.")
    ] = None,
    seq_chunk: Annotated[
        int, typer.Option(metavar="N", help="Frames that go through a checkpoint's network together.")
    ] = 1,
    device: Annotated[
        str, typer.Option(metavar="cpu|cuda", callback=one_of("cpu", "cuda"), help="Where the network runs.")
    ] = "cpu",
    start: Annotated[float, typer.Option(metavar="SECONDS", help="Leave out what is before.")] = 0,
    end: Annotated[float | None, typer.Option(metavar="SECONDS", help="Leave out what is from here on.")] = None,
    max_frames: Annotated[int | None, typer.Option(metavar="N", help="Stop after so many.")] = None,
    codec: Annotated[
        str | None, typer.Option(metavar="NAME", help="FFmpeg's name of a video encoder, libx265 for example.")
    ] = None,
    quality: Annotated[
        int | None, typer.Option(metavar="CRF", help="Of video: 0 (best) to 51; to 63 for VP9 and AV1.")
    ] = None,
    mbps: Annotated[
        float | None, typer.Option(metavar="MBIT/S", help="Bit rate of video, in place of a quality.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Inputs at a time; by default as cores and memory allow.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Run on a Dask cluster, such as tcp://127.0.0.1:8786; see the README."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace outputs that exist.")] = False,
) -> None:
    from rvm_model.matting import Kind
    from tools.commands.matte import MatteOptions, matte_all
    from tools.shared.sizes import parse_ratio, parse_resolution

    options = MatteOptions(
        model=model,
        background=background,
        downsample_ratio=parse_ratio(downsample_ratio),
        resize=None if resize is None else parse_resolution("--resize", resize),
        seq_chunk=seq_chunk,
        device=device,
        start=start,
        end=end,
        max_frames=max_frames,
        codec=codec,
        quality=quality,
        mbps=mbps,
    )
    given: dict[Kind, str | None] = {"composition": composition, "alpha": alpha, "foreground": foreground}
    outputs = {kind: path for kind, path in given.items() if path is not None}
    raise typer.Exit(matte_all(inputs, outputs, options, force, jobs, cluster))


@app.command(
    short_help="Name the first layer at which an ONNX file drifts.",
    help="Run an ONNX file layer by layer over a clip, and name the first of the network's modules whose output drifts "
    "from PyTorch's or another file's. Both sides get the reference's states before every frame, so that drift is not "
    "carried from frame to frame: what is shown arose between a point and those before it. Exit code 1 is drift.",
)
def bisect(
    artifact: Annotated[
        Path, typer.Argument(metavar="A.onnx", help="A file of the network, ours or another's, batch norm folded in.")
    ],
    against: Annotated[
        str, typer.Option(metavar="pytorch|B.onnx", help="The reference: PyTorch, or another file of the same variant.")
    ] = "pytorch",
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="PATH|official|seeded",
            help="Weights they should hold, or any file of the network; by default what the metadata of A.onnx names, "
            "else official.",
        ),
    ] = None,
    trust: TrustOption = False,
    clip: Annotated[Path | None, typer.Option(help="Image folder or video; by default a built-in clip.")] = None,
    frames: FramesOption = None,
    downsample_ratio: Annotated[
        str,
        typer.Option(
            metavar="R|auto", help="In (0, 1]; auto is 512 / longer side, at most 1, and .5 for the built-in clip."
        ),
    ] = "auto",
    threshold: Annotated[
        float | None,
        typer.Option(
            help="The mean error that is drift when exceeded, relative to the root mean square of the reference at "
            "that point; by default what suits precision and refiner."
        ),
    ] = None,
    every_point: Annotated[
        bool, typer.Option("--all", help="Show every point, not only those about the first drift.")
    ] = False,
    json: Annotated[Path | None, typer.Option(metavar="FILE|-", help="Write the report as a JSON object.")] = None,
) -> None:
    from tools.commands.bisect import bisect_file

    raise typer.Exit(
        bisect_file(artifact, against, checkpoint, clip, frames, downsample_ratio, threshold, every_point, json, trust)
    )


@app.command(
    short_help="Show two models' mattes and their difference.",
    help="Draw source, both mattes and their amplified difference side by side: some frames as rows of a PNG file, or "
    "every frame that is played as a video, 24 a second. What takes any size is played at the other's, if that has "
    "only one. Prints the file's path. "
    f"{CODE_WARNING}",
)
def compare(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A", help="A file of any format, a .pth or .safetensors checkpoint, official or seeded."
        ),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="Another, of the same format or not.")],
    output: Annotated[Path, typer.Option(metavar="OUT.png|OUT.mp4", help="The picture, or the video.")],
    clip: Annotated[Path | None, typer.Option(help="Image folder or video; by default a built-in clip.")] = None,
    frames: FramesOption = None,
    downsample_ratio: Annotated[
        str,
        typer.Option(
            metavar="R|auto", help="In (0, 1]; auto is 512 / longer side, at most 1, and .5 for the built-in clip."
        ),
    ] = "auto",
    amplify: Annotated[float, typer.Option(help="What the difference is multiplied by to be seen.")] = 20,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    from tools.commands.compare import compare_models

    typer.echo(compare_models(a, b, clip, frames, downsample_ratio, amplify, output, force))


@app.command(
    short_help="Time files against PyTorch's own.",
    help="Time files, PyTorch itself, frozen TorchScript (torchscript) and the plain opset-12 ONNX that PyTorch traces "
    "(traced) in turn, a frame each a round, in a process each, and compare their mattes. A file that fails parity "
    "is not timed, and the command exits with 1. What is timed begins and ends in the machine's own memory. With "
    f"--export the making of files is timed instead. {CODE_WARNING}",
)
def bench(
    artifacts: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="ARTIFACT...", help="Files of any format, of one network; none for the baselines alone."
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Who the others are held against: pytorch, torchscript, traced or a file's name. By default traced, "
            "torchscript on CUDA, and the first file in a browser.",
        ),
    ] = None,
    resolution: Annotated[
        list[str] | None, typer.Option(metavar="WxH", help="Repeatable; 1920x1080 at ratio .25 by default.")
    ] = None,
    downsample_ratio: Annotated[
        list[str] | None, typer.Option(metavar="R|auto", help="The n-th goes with the n-th resolution.")
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            metavar="cpu|cuda|browser|browser-webgl",
            callback=one_of("cpu", "cuda", "browser", "browser-webgl"),
            help="browser: TensorFlow.js files in Chromium by WebAssembly, the way into the page and back included; "
            "browser-webgl: by WebGL, drawn in software.",
        ),
    ] = "cpu",
    threads: Annotated[
        list[int] | None, typer.Option(metavar="N", min=1, help="Repeatable; as many as there are cores by default.")
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="How many frames of each are timed: 20 by default, 3 files with --export."
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option(metavar="fp32|fp16", callback=one_of("fp32", "fp16"), help="Of the baselines.")
    ] = "fp32",
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="rvm",
            callback=one_of("rvm"),
            help="The released speed test's setting: random input, 1920x1080 at .25 and 3840x2160 at .125, against "
            "frozen TorchScript.",
        ),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="PATH|official|seeded",
            help="The weights; by default what the first file's metadata names, seeded without a file.",
        ),
    ] = None,
    trust: TrustOption = False,
    export: Annotated[bool, typer.Option("--export", help="Time the exporters, with seeded weights.")] = False,
    json: Annotated[Path | None, typer.Option(metavar="FILE|-", help="Write all figures as a JSON object.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE|-", help="Write them as a table, a line each.")] = None,
) -> None:
    from tools.bench.command import BenchOptions, bench_all

    given = {"json": json, "csv": csv}
    raise typer.Exit(
        bench_all(
            artifacts or [],
            BenchOptions(
                baseline=baseline,
                resolutions=tuple(resolution or ()),
                ratios=tuple(downsample_ratio or ()),
                device=device,
                threads=tuple(threads or ()),
                rounds=rounds,
                precision=precision,
                preset=preset,
                checkpoint=checkpoint,
                trust=trust,
                export=export,
                reports={kind: path for kind, path in given.items() if path is not None},
            ),
        )
    )


@app.command(
    short_help="Export to all formats, and compare them.",
    help="Export a checkpoint to every format and precision, verify each file against PyTorch, and time them in turn. "
    "Writes the files and benchmark.html, a page with charts, a table and mattes. Files that exist are used. Exits "
    "with 1 if a file fails parity: it is not timed.",
)
def benchmark(
    formats: Annotated[
        list[str] | None,
        typer.Option(
            metavar="|".join(FORMATS),
            callback=one_of(*FORMATS),
            help="Repeatable, in the order of the table. Default: all.",
        ),
    ] = None,
    variant: Annotated[Variant, typer.Option(help="Encoder.")] = "mobilenetv3",
    refiner: Annotated[Refiner, typer.Option(help="What brings the matte to full size.")] = "deep_guided_filter",
    checkpoint: CheckpointOption = "auto",
    trust: TrustOption = False,
    resolution: Annotated[str, typer.Option(metavar="WxH", help="Size of the frames.")] = "640x360",
    downsample_ratio: Annotated[
        str, typer.Option(metavar="R|auto", help="Below 1; auto is 512 / longer side.")
    ] = "auto",
    clip: Annotated[Path | None, typer.Option(help="Image folder or video; by default a built-in clip.")] = None,
    frames: FramesOption = None,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="Timed frames of each file.")] = 20,
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Threads of each file. Default: all cores.")
    ] = None,
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of the files and the page.")] = Path(
        "dist/benchmark"
    ),
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
    csv: Annotated[Path | None, typer.Option(metavar="FILE|-", help="Write the table as CSV.")] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE|-", help="Write all figures as a JSON object.")] = None,
) -> None:
    from tools.benchmark.command import BenchmarkOptions, benchmark_all

    given = {"json": json, "csv": csv}
    raise typer.Exit(
        benchmark_all(
            BenchmarkOptions(
                formats=tuple(formats or ()),
                variant=variant,
                refiner=refiner,
                checkpoint=checkpoint,
                trust=trust,
                resolution=resolution,
                ratio=downsample_ratio,
                clip=clip,
                frames=frames,
                rounds=rounds,
                threads=threads,
                output=output,
                force=force,
                reports={kind: path for kind, path in given.items() if path is not None},
            )
        )
    )


@app.command(
    short_help="Serve a page that mattes your webcam.",
    help="Serve a page, on this machine only, that mattes the webcam, a video or a picture in the browser, with "
    "TensorFlow.js and ONNX files. Prints its address, and ends with Ctrl-C. With --static, write it as a folder that "
    "any web server can serve, and print the folder's path.",
)
def demo(
    model: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE|FOLDER",
            help="A TensorFlow.js or ONNX model; repeatable. Without one, an ONNX file of the official weights is "
            "made, if they can be had, else of seeded ones, which matte nothing.",
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="Where to listen; 0 is any that is free.")] = 8000,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    static: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the page into this folder, and serve nothing.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a folder that --static wrote before.")] = False,
) -> None:
    from tools.demo.command import serve, write

    if static is None:
        serve(model or [], port, show)
    else:
        typer.echo(write(model or [], static, force))


@app.command(
    short_help="Take the weights out of files again.",
    help="Take the weights out of exported files, ours or released, and write a checkpoint with the released names. "
    "Several files of the same weights, each rounded in its own way, give the middle of what they all leave possible. "
    "The files and the rebuilt network then play a clip against each other. Prints the file's path.",
)
def recover(
    artifacts: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Files or folders of any format, of the same weights.")
    ],
    output: Annotated[Path, typer.Option(help="A file that ends in .safetensors, or a folder.")] = Path(),
    trust: TrustOption = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    verify: Annotated[
        bool, typer.Option(help="Play a clip through each file and PyTorch; a mismatch leaves no file.")
    ] = True,
) -> None:
    from tools.commands.recover import recover_files

    typer.echo(recover_files(artifacts, output, trust, force, verify))


@app.command(
    short_help="Show what a file is.",
    help=f"Show what a file is: inputs, outputs, metadata, sizes. {CODE_WARNING}",
)
def info(
    artifact: Annotated[Path, typer.Argument(metavar="ARTIFACT")],
    json: Annotated[bool, typer.Option("--json", help="A JSON object on stdout instead of a table.")] = False,
) -> None:
    from tools.commands.info import show

    show(artifact, json)


releases = typer.Typer(add_completion=False, rich_markup_mode=None)
app.add_typer(releases, name="release")
ReleaseCheckpoint = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[VARIANT=]PATH|official|seeded|auto",
        help="Weights; repeatable, one for each variant. By default auto.",
    ),
]
ReleaseClip = Annotated[Path | None, typer.Option(help="Image folder or video; by default a built-in clip.")]
ReleaseJobs = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Files at a time; by default as cores and memory allow.")
]
ReleaseCluster = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Run on a Dask cluster whose workers see the folder too.")
]


@releases.callback(
    invoke_without_command=True,
    short_help="Make, prove and describe a whole set of files.",
    help="Make the whole set of files, prove each, and write manifest, sums, model cards and a report. What is there "
    "already, made from the same, stays: a release that was broken off goes on. Prints the files' paths. Exit code 1 "
    "says that a file could not be made; the others are there.",
)
def release(
    context: typer.Context,
    checkpoint: ReleaseCheckpoint = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to write it.")] = Path("dist"),
    only: Annotated[
        list[str] | None, typer.Option(metavar="|".join(FORMATS), help="Only this format; repeatable.")
    ] = None,
    light: Annotated[bool, typer.Option("--light", help="The small set: MobileNetV3, a few files.")] = False,
    clip: ReleaseClip = None,
    frames: FramesOption = None,
    jobs: ReleaseJobs = None,
    cluster: ReleaseCluster = None,
    version: Annotated[str, typer.Option(metavar="V", help="Of the release, for its manifest.")] = __version__,
    trust: TrustOption = False,
    check_reproducible: Annotated[
        bool, typer.Option("--check-reproducible", help="Make it a second time, and compare every byte.")
    ] = False,
) -> None:
    if context.invoked_subcommand is not None:
        given = [name for name in context.params if given_by_user(context, name)]
        if given:
            raise typer.BadParameter(f"--{given[0].replace('_', '-')} goes behind {context.invoked_subcommand}")
        return
    from tools.release import command

    raise typer.Exit(
        command.release(
            checkpoint or [], out, only or [], light, clip, frames, jobs, cluster, version, check_reproducible, trust
        )
    )


@releases.command(
    "verify",
    short_help="Doubt a release that exists.",
    help="Hold a release against its sums, its manifest, the files' own metadata, and PyTorch. Exit code 1 is any "
    f"doubt. {CODE_WARNING}",
)
def verify_release(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The release's folder.")],
    checkpoint: ReleaseCheckpoint = None,
    clip: ReleaseClip = None,
    frames: FramesOption = None,
    jobs: ReleaseJobs = None,
    cluster: ReleaseCluster = None,
    trust: TrustOption = False,
) -> None:
    from tools.release import command

    raise typer.Exit(command.verify(folder, checkpoint or [], clip, frames, jobs, cluster, trust))


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"rvm-export {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)


def main() -> None:
    """Run the command; every error that is expected becomes one line and an exit code."""
    # What a terminal that is closed and a machine that shuts down say is as Ctrl-C: nothing is left half-written.
    # What was ignored from the start, as nohup has it for SIGHUP, stays ignored.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    warnings.showwarning = _show_warning
    try:
        code = app(standalone_mode=False) or 0
    except KeyboardInterrupt:
        code = INTERRUPTED
    except (UserError, typer.TyperException) as error:
        code = say_error(error.format_message() if isinstance(error, typer.TyperException) else str(error), 2)
    except ExportFailed as error:
        code = say_error(str(error), 1)
    except OSError as error:  # stdout, or a file that went away
        code = say_error(f"{error.strerror}{f': {error.filename}' if error.filename else ''}", 1)
    if code == INTERRUPTED:
        say_error("interrupted; nothing was left half-written", code)
    sys.exit(code)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    typer.secho(f"rvm-export: WARNING: {message}", err=True, fg="yellow", bold=True)
