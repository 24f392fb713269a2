"""The commands that measure speed: bench and benchmark."""

from pathlib import Path
from typing import Annotated

import typer

from exporters import FORMATS
from tools.cli.options import (
    CHECKPOINT,
    CODE_WARNING,
    FORCE,
    OUTPUT,
    PRECISION,
    RATIO,
    RESOLUTION,
    CheckpointOption,
    ClipOption,
    FramesOption,
    RefinerOption,
    TrustOption,
    VariantOption,
    app,
    files,
    one_of,
    report_option,
)


@app.command(
    short_help="Time files against PyTorch.",
    help="Time files against PyTorch, frozen TorchScript (torchscript) and the plain opset-12 ONNX that PyTorch traces "
    "(traced), and compare their mattes. Each runs in its own process, and they take turns frame by frame. A file that "
    "fails parity is not timed, and the command exits with 1. Times include the copies from and to the machine's "
    f"memory. With --export, times the exporters instead. {CODE_WARNING}",
)
def bench(
    artifacts: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="ARTIFACT...", help="Files of any format, of one network. Without any, only the baselines run."
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What the others are compared with: pytorch, torchscript, traced or a file's name. Default: traced, "
            "torchscript on CUDA, the first file in a browser.",
        ),
    ] = None,
    resolution: Annotated[
        list[str] | None,
        typer.Option(
            *RESOLUTION, metavar="WxH", help="Size of the frames; repeatable. Default: 1920x1080 at ratio .25."
        ),
    ] = None,
    downsample_ratio: Annotated[
        list[str] | None, typer.Option(*RATIO, metavar="R|auto", help="The n-th belongs to the n-th resolution.")
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            metavar="cpu|cuda|browser|browser-webgl",
            callback=one_of("cpu", "cuda", "browser", "browser-webgl"),
            help="browser: TensorFlow.js files in Chromium by WebAssembly, including the copies into the page and "
            "back; browser-webgl: by WebGL, rendered in software. With a file of coefficients or an ONNX file, browser "
            "times the page of demo, from a frame's bytes to the canvas.",
        ),
    ] = "cpu",
    threads: Annotated[
        list[int] | None,
        typer.Option(metavar="N", min=1, help="Threads of each process; repeatable. Default: all cores."),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Timed frames of each. Default: 20; 3 files with --export."),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            *PRECISION, metavar="fp32|fp16", callback=one_of("fp32", "fp16"), help="Precision of the baselines."
        ),
    ] = "fp32",
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="rvm",
            callback=one_of("rvm"),
            help="Repeat the released speed test: random input, 1920x1080 at .25 and 3840x2160 at .125, against frozen "
            "TorchScript.",
        ),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            *CHECKPOINT,
            metavar="PATH|official|seeded",
            help="Weights. Default: those that the first file's metadata names, seeded without a file.",
        ),
    ] = None,
    trust: TrustOption = False,
    export: Annotated[bool, typer.Option("--export", help="Time the exporters, with seeded weights.")] = False,
    json: Annotated[Path | None, report_option("Write all figures as a JSON object.")] = None,
    csv: Annotated[Path | None, report_option("Write all figures as a CSV table.")] = None,
) -> None:
    from tools.bench.command import BenchOptions, bench_all

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
                reports=files(json=json, csv=csv),
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
            help="Format to export; repeatable, in the order of the table. Default: all.",
        ),
    ] = None,
    variant: VariantOption = "mobilenetv3",
    refiner: RefinerOption = "deep_guided_filter",
    checkpoint: CheckpointOption = "auto",
    trust: TrustOption = False,
    resolution: Annotated[str, typer.Option(*RESOLUTION, metavar="WxH", help="Size of the frames.")] = "640x360",
    downsample_ratio: Annotated[
        str, typer.Option(*RATIO, metavar="R|auto", help="Ratio below 1. auto: 512 / longer side.")
    ] = "auto",
    clip: ClipOption = None,
    frames: FramesOption = None,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="Timed frames of each file.")] = 20,
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Threads of each file. Default: all cores.")
    ] = None,
    output: Annotated[Path, typer.Option(*OUTPUT, metavar="FOLDER", help="Folder of the files and the page.")] = Path(
        "dist/benchmark"
    ),
    force: Annotated[bool, typer.Option(*FORCE, help="Replace files that exist.")] = False,
    csv: Annotated[Path | None, report_option("Write the table as CSV.")] = None,
    json: Annotated[Path | None, report_option("Write all figures as a JSON object.")] = None,
) -> None:
    from tools.benchmark.command import BenchmarkOptions, benchmark_all

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
                reports=files(json=json, csv=csv),
            )
        )
    )
