"""The commands that matte: matte and demo."""

from pathlib import Path
from typing import Annotated

import typer

from tools.cli.options import CODE_WARNING, app, device_option


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
    device: Annotated[str, device_option("Where the network runs.")] = "cpu",
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
