"""The commands that matte: matte and demo."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from rvm_model.errors import UserError
from tools.cli.options import (
    CODE_WARNING,
    FORCE,
    JOBS,
    MODEL,
    RATIO,
    TrustOption,
    app,
    device_option,
    given_by_user,
    one_of,
)
from tools.shared.stdout import print_result

if TYPE_CHECKING:
    from tools.commands.matte import MatteOptions

_OF_OUTPUTS = (
    "composition",
    "alpha",
    "foreground",
    "premultiplied",
    "seq_chunk",
    "codec",
    "quality",
    "mbps",
    "bits",
    "jobs",
    "cluster",
)
"""Options that say nothing of a preview."""


@app.command(
    short_help="Matte videos, image folders and pictures.",
    help="Matte videos, image folders and pictures with an exported file or a checkpoint. The suffix of an output "
    "selects its kind: .mp4, .mkv, .mov, .webm and .avi are videos (H.264, HEVC for 10 bits, WebM VP9), .png and .jpg "
    "pictures, no suffix a folder of PNG. A composition without a background is transparent in .mov (ProRes 4444), "
    ".webm and PNG, else over green. Several inputs, or a folder of videos, run side by side. Exits with 1 if an input "
    "is damaged; "
    f"the part before the damage is written. {CODE_WARNING}",
)
def matte(
    context: typer.Context,
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT...", help="Videos, pictures, folders of pictures, folders of videos.")
    ],
    model: Annotated[
        str,
        typer.Option(
            *MODEL,
            metavar="ARTIFACT|CHECKPOINT",
            help="File of any format, .pth or .safetensors checkpoint, official or seeded.",
        ),
    ],
    trust: TrustOption = False,
    composition: Annotated[
        str | None,
        typer.Option(
            metavar="OUT", help="Write the person over the background. {name} in any OUT is the input's name."
        ),
    ] = None,
    alpha: Annotated[str | None, typer.Option(metavar="OUT", help="Write the opacity of each pixel, as grey.")] = None,
    foreground: Annotated[
        str | None, typer.Option(metavar="OUT", help="Write the person's colours, not premultiplied.")
    ] = None,
    preview: Annotated[
        Path | None,
        typer.Option(metavar="PNG", help="Instead, draw the middle frame at three ratios, to choose one from."),
    ] = None,
    background: Annotated[
        str | None,
        typer.Option("--background", "-b", metavar="COLOUR|IMAGE|VIDEO|blur", help="Background of the composition."),
    ] = None,
    premultiplied: Annotated[
        bool,
        typer.Option("--premultiplied", help="Multiply a transparent video's colours by its alpha. Default: straight."),
    ] = False,
    downsample_ratio: Annotated[
        str,
        typer.Option(
            *RATIO,
            metavar="R|auto",
            help="Ratio in (0, 1]. auto: 512 / longer side, at most 1, for portraits. Portraits take .375 at 1280x720, "
            ".25 at 1920x1080; full bodies .6 and .4.",
        ),
    ] = "auto",
    resize: Annotated[
        str | None, typer.Option(metavar="WxH", help="Scale the frames to this size before matting.")
    ] = None,
    seq_chunk: Annotated[
        int, typer.Option(metavar="N", help="Frames that a checkpoint's network takes at a time.")
    ] = 1,
    device: Annotated[str, device_option("Device of the network.")] = "cpu",
    start: Annotated[
        str, typer.Option(metavar="TIME", help="Start at this time: seconds, or hours:minutes:seconds, as 00:00:12.5.")
    ] = "0",
    end: Annotated[str | None, typer.Option(metavar="TIME", help="End before this time, written as --start.")] = None,
    max_frames: Annotated[int | None, typer.Option(metavar="N", help="Stop after this many frames.")] = None,
    codec: Annotated[
        str | None, typer.Option(metavar="NAME", help="FFmpeg's name of a video encoder, such as libx265.")
    ] = None,
    quality: Annotated[
        int | None, typer.Option(metavar="CRF", help="Constant quality: 0 (best) to 51, or to 63 for VP9 and AV1.")
    ] = None,
    mbps: Annotated[
        float | None, typer.Option(metavar="MBIT/S", help="Bit rate of a video, instead of --quality.")
    ] = None,
    bits: Annotated[
        int | None,
        typer.Option(metavar="8|10", help="Depth of videos. Default: the input's; more than 8 bits give HEVC Main 10."),
    ] = None,
    deinterlace: Annotated[
        str,
        typer.Option(
            metavar="auto|off|bwdif",
            callback=one_of("auto", "off", "bwdif"),
            help="Deinterlace frames that are declared interlaced, none, or all, with FFmpeg's bwdif.",
        ),
    ] = "auto",
    hdr: Annotated[
        str,
        typer.Option(
            metavar="keep|sdr", callback=one_of("keep", "sdr"), help="Keep a high dynamic range, or map it to SDR."
        ),
    ] = "keep",
    jobs: Annotated[
        int | None,
        typer.Option(*JOBS, metavar="N", min=1, help="Inputs to matte at a time. Default: by cores and memory."),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Run on a Dask cluster, such as tcp://127.0.0.1:8786."),
    ] = None,
    force: Annotated[bool, typer.Option(*FORCE, help="Replace outputs that exist.")] = False,
) -> None:
    from rvm_model.rendering import Kind
    from rvm_model.video.deinterlace import Deinterlace
    from tools.cli.times import parse_time
    from tools.commands.matte import MatteOptions, matte_all
    from tools.shared.sizes import parse_ratio, parse_resolution

    options = MatteOptions(
        model=model,
        trust=trust,
        background=background,
        downsample_ratio=parse_ratio(downsample_ratio),
        resize=None if resize is None else parse_resolution("--resize", resize),
        seq_chunk=seq_chunk,
        device=device,
        start=parse_time("--start", start),
        end=None if end is None else parse_time("--end", end),
        max_frames=max_frames,
        codec=codec,
        quality=quality,
        mbps=mbps,
        bits=bits,
        sdr=hdr == "sdr",
        deinterlace=cast(Deinterlace, deinterlace),
        premultiplied=premultiplied,
    )
    given: dict[Kind, str | None] = {"composition": composition, "alpha": alpha, "foreground": foreground}
    outputs = {kind: path for kind, path in given.items() if path is not None}
    if preview is not None:
        _refuse_beside_preview(context)
        print_result(_previewed(inputs, preview, options, force))
        return
    raise typer.Exit(matte_all(inputs, outputs, options, force, jobs, cluster))


def _refuse_beside_preview(context: typer.Context) -> None:
    for option in _OF_OUTPUTS:
        if given_by_user(context, option):
            raise UserError(
                f"--{option.replace('_', '-')} is not for --preview, which writes one picture; leave it out"
            )


def _previewed(inputs: list[Path], output: Path, options: "MatteOptions", force: bool) -> Path:
    from tools.commands.preview import PreviewOptions, preview

    if len(inputs) != 1:
        raise UserError(f"--preview takes one input, not {len(inputs)}; give one")
    shared = {each.name: getattr(options, each.name) for each in fields(PreviewOptions) if each.name != "force"}
    return preview(inputs[0], output, PreviewOptions(**shared, force=force))


@app.command(
    short_help="Serve a page that mattes your webcam.",
    help="Serve a page, on this machine only, that mattes the webcam, a video or a picture in the browser with "
    "TensorFlow.js and ONNX files. Prints its address; Ctrl-C ends it. With --static, writes the page as a folder that "
    "any web server can serve, and prints the folder's path.",
)
def demo(
    context: typer.Context,
    model: Annotated[
        list[Path] | None,
        typer.Option(
            *MODEL,
            metavar="FILE|FOLDER",
            help="TensorFlow.js or ONNX model; repeatable. Without it, demo exports an ONNX file first: official "
            "weights if they can be downloaded, else seeded, which matte nothing.",
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="Port to listen on; 0 is any free one.")] = 8000,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    static: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the page into this folder instead of serving it.")
    ] = None,
    force: Annotated[bool, typer.Option(*FORCE, help="Replace a folder that --static wrote.")] = False,
) -> None:
    from tools.demo.command import serve, write

    given = {"--port": "port", "--open": "open_browser"} if static else {"--force": "force"}
    for switch, name in given.items():
        if given_by_user(context, name):
            raise UserError(f"{switch} is {'not for' if static else 'for'} --static; leave it out")
    if static is None:
        serve(model or [], port, open_browser)
    else:
        print_result(write(model or [], static, force))
