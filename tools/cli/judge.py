"""The commands that compare or read files: verify, doctor, bisect, compare, recover, info."""

from pathlib import Path
from typing import Annotated

import typer

from tools.cli.options import (
    CODE_WARNING,
    OUTPUT,
    RUNTIMES,
    ClipOption,
    ForceOption,
    FramesOption,
    RatioOption,
    TrustOption,
    app,
    device_option,
    files,
    report_option,
    weights_option,
)
from tools.doctor.contracts import read_contracts
from tools.shared.stdout import print_result


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
        weights_option("the files' metadata names"),
    ] = None,
    trust: TrustOption = False,
    clip: ClipOption = None,
    frames: FramesOption = None,
    downsample_ratio: RatioOption = "auto",
    device: Annotated[str, device_option("Device of both sides.")] = "cpu",
    runtime: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"Runtime that plays the files. Default: each format's first. {RUNTIMES}."),
    ] = None,
    json: Annotated[Path | None, report_option("Write the reports as a JSON list.")] = None,
    junit: Annotated[Path | None, report_option("Write the reports as JUnit XML, for CI.")] = None,
    markdown: Annotated[Path | None, report_option("Write the reports as a Markdown table.")] = None,
) -> None:
    from tools.commands.verify import VerifyOptions, verify_all

    options = VerifyOptions(
        checkpoint=checkpoint,
        trust=trust,
        clip=clip,
        frames=frames,
        downsample_ratio=downsample_ratio,
        device=device,
        runtime=runtime,
        reports=files(json=json, junit=junit, markdown=markdown),
    )
    raise typer.Exit(verify_all(artifacts, options))


@app.command(
    short_help="Say whether an ONNX file fits a program.",
    help="Play an ONNX file exactly as other programs call it, and say whether it fits them, and why. The way of "
    "calling was read in their public source. Exits with 1 if it does not fit.",
)
def doctor(
    artifact: Annotated[Path, typer.Argument(metavar="FILE.onnx", help="ONNX file of the network, of any exporter.")],
    programs: Annotated[
        list[str] | None,
        typer.Option("--as", metavar="|".join(read_contracts()), help="Program; repeatable. Default: all."),
    ] = None,
) -> None:
    from tools.commands.doctor import examine_file

    raise typer.Exit(examine_file(artifact, programs or ()))


@app.command(
    short_help="Name the first layer at which an ONNX file drifts.",
    help="Run an ONNX file layer by layer over a clip, and name the first module whose output drifts from PyTorch's or "
    "another file's. Both sides get the reference's states before every frame, so that no drift is carried from frame "
    "to frame. Exits with 1 if a module drifts.",
)
def bisect(
    artifact: Annotated[
        Path,
        typer.Argument(metavar="A.onnx", help="ONNX file of the network, of any exporter, with batch norm folded in."),
    ],
    against: Annotated[
        str, typer.Option(metavar="pytorch|B.onnx", help="Reference: PyTorch, or another file of the same variant.")
    ] = "pytorch",
    checkpoint: Annotated[
        str | None,
        weights_option("the metadata of A.onnx names"),
    ] = None,
    trust: TrustOption = False,
    clip: ClipOption = None,
    frames: FramesOption = None,
    downsample_ratio: RatioOption = "auto",
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Largest mean error that is no drift, relative to the reference's root mean square at that point. "
            "Default: by precision and refiner."
        ),
    ] = None,
    every_point: Annotated[
        bool, typer.Option("--all", help="Show every point, not only those near the first drift.")
    ] = False,
    json: Annotated[Path | None, report_option("Write the report as a JSON object.")] = None,
) -> None:
    from tools.commands.bisect import BisectOptions, bisect_file

    raise typer.Exit(
        bisect_file(
            artifact,
            BisectOptions(
                against=against,
                checkpoint=checkpoint,
                trust=trust,
                clip=clip,
                frames=frames,
                downsample_ratio=downsample_ratio,
                threshold=threshold,
                every_point=every_point,
                json=json,
            ),
        )
    )


@app.command(
    short_help="Show two models' mattes and their difference.",
    help="Draw source, both mattes and their amplified difference side by side: four frames as rows of a PNG file, or "
    "every frame as a video of 24 frames a second. If one model has a fixed size, both play at that size. Prints the "
    "file's path. "
    f"{CODE_WARNING}",
)
def compare(
    a: Annotated[
        str,
        typer.Argument(metavar="A", help="File of any format, .pth or .safetensors checkpoint, official or seeded."),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The other model, of any format.")],
    output: Annotated[Path, typer.Option(*OUTPUT, metavar="OUT.png|OUT.mp4", help="Picture or video to write.")],
    clip: ClipOption = None,
    frames: FramesOption = None,
    downsample_ratio: RatioOption = "auto",
    amplify: Annotated[float, typer.Option(help="Factor of the drawn difference.")] = 20,
    trust: TrustOption = False,
    force: ForceOption = False,
) -> None:
    from tools.commands.compare import CompareOptions, compare_models

    options = CompareOptions(
        trust=trust,
        clip=clip,
        frames=frames,
        downsample_ratio=downsample_ratio,
        amplify=amplify,
        output=output,
        force=force,
    )
    print_result(compare_models(a, b, options))


@app.command(
    short_help="Recover the weights of exported files.",
    help="Recover the weights of exported files, ours or released, and write a checkpoint with the released names. "
    "Several files of the same weights bound each weight by intervals: recover intersects them and takes the middle. "
    "Then compares each file with the rebuilt network over a clip. Prints the file's path.",
)
def recover(
    artifacts: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Files or folders of any format, of the same weights.")
    ],
    output: Annotated[
        Path, typer.Option(*OUTPUT, help="Where to write: a file that ends in .safetensors, or a folder.")
    ] = Path(),
    trust: TrustOption = False,
    force: ForceOption = False,
    verify: Annotated[
        bool, typer.Option(help="Compare each file with PyTorch over a clip; a mismatch leaves no file.")
    ] = True,
) -> None:
    from tools.commands.recover import recover_files

    print_result(recover_files(artifacts, output, trust, force, verify))


@app.command(
    short_help="Show a file's inputs, outputs and metadata.",
    help="Show a file's inputs, outputs, metadata and sizes. Runs nothing of it, even if it is code.",
)
def info(
    artifact: Annotated[Path, typer.Argument(metavar="ARTIFACT", help="A file of any format.")],
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object on stdout instead of a table.")] = False,
) -> None:
    from tools.commands.info import show

    show(artifact, json)
