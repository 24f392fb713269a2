"""Draw the pictures of README and docs: mattes of the real clip, the demo, and the pages that commands write.

Needs the trained weights and the clip of `../shared`, and Chromium. Writes `docs/matte.jpg`, `docs/composition.jpg`,
`docs/demo.jpg`, `docs/report.jpg` and `docs/benchmark.jpg`.
"""

import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from exporters import FORMATS, load_exporter, load_runtime
from exporters.support.node import find_node
from exporters.tfjs.chromium import find_chromium
from exporters.tfjs.step import FOLDER as WEB
from parity_tests.cases import REAL_CLIP, case_checkpoint, shared_folder, trained_weights
from parity_tests.clips import Clip, load_clip
from parity_tests.play import play_artifact
from tools.commands.matte import MatteOptions, matte_one
from tools.demo.serve import HOST, listening
from tools.demo.site import open_site
from tools.shared.pictures import panels

WEIGHTS = "consensus_fp16"  # visually the closest to the released weights
DOCS = Path(__file__).parents[2] / "docs"
BACKGROUND = np.array([0.16, 0.63, 0.53], np.float32)[:, None, None]
FRAME, RATIO, PANEL = 20, 0.5, (400, 225)
REPORTED = "rvm_mobilenetv3_fp16.onnx"  # the file whose part of the report is shown


def main() -> None:
    """Draw source, alpha, foreground and a composite over a colour; the composites of `rvm-export matte`; the demo."""
    shared = shared_folder()
    if shared is None:
        raise SystemExit("the picture needs ../shared, or RVM_SHARED")
    clip = load_clip(shared / REAL_CLIP)
    with tempfile.TemporaryDirectory() as folder:
        spec = FORMATS["onnx"].spec(variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32")
        path = Path(folder) / spec.file_name(".onnx", seeded=False)
        load_exporter("onnx").export(case_checkpoint(WEIGHTS, "mobilenetv3", "deep_guided_filter"), spec, path)
        outputs = [*play_artifact(load_runtime("onnx").inspect(path), clip, RATIO)][FRAME]
        page = photograph(path, clip)
        composites = [composite(path, shared / REAL_CLIP, background) for background in (None, "blur", "#b5532f")]
    src, fgr, pha = [*clip][FRAME][0], outputs["fgr"][0], outputs["pha"][0]
    shown = [src, pha, fgr * (pha > 0), fgr * pha + BACKGROUND * (1 - pha)]
    DOCS.mkdir(exist_ok=True)
    for name, images in {"matte.jpg": shown, "composition.jpg": [src, *composites]}.items():
        Image.fromarray(panels(images, PANEL)).save(DOCS / name, quality=88)
        print(DOCS / name)  # noqa: T201
    page.save(DOCS / "demo.jpg", quality=86)
    print(DOCS / "demo.jpg")  # noqa: T201
    draw_pages(trained_weights(WEIGHTS))


def composite(model: Path, clip: Path, background: str | None) -> NDArray[np.floating]:
    """Return the frame that `rvm-export matte` writes into a video."""
    output = model.parent / "composition.mkv"
    options = MatteOptions(model=str(model), downsample_ratio=RATIO, background=background)
    matte_one(clip, {"composition": output}, options, progress=False)
    pixels: NDArray[np.floating] = [*load_clip(output)][FRAME][0]
    return pixels


def draw_pages(weights: Path) -> None:
    """Draw the report of a release and the page of `benchmark`, both of the built-in clip."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run_command("release", "--light", "--only", "onnx", "--checkpoint", f"mobilenetv3={weights}", "--out", folder)
        draw_page(folder / "report.html", 720, DOCS / "report.jpg", f"article[id='{REPORTED}']")
        run_command("benchmark", "--checkpoint", weights, "--output", folder / "benchmark")
        draw_page(folder / "benchmark" / "benchmark.html", 980, DOCS / "benchmark.jpg")


def run_command(*arguments: str | Path) -> None:
    subprocess.run([Path(sys.executable).with_name("rvm-export"), *arguments], check=True)  # noqa: S603


def draw_page(page: Path, height: int, picture: Path, *selectors: str) -> None:
    """Write the beginning of a page and, below it, some of its elements."""
    script, out = Path(__file__).with_name("page_pictures.mjs"), page.with_suffix("")
    node, chromium = find_node("the picture", WEB), find_chromium("the picture")
    subprocess.run([node, script, WEB, chromium, page, str(height), out, *selectors], check=True)  # noqa: S603
    numbered = [out.with_name(f"{out.name}-{index}.png") for index in range(1, 1 + len(selectors))]
    parts = [Image.open(path, formats=("PNG",)).convert("RGB") for path in (out.with_suffix(".png"), *numbered)]
    whole = Image.new("RGB", (parts[0].width, sum(part.height for part in parts)), "white")
    top = 0
    for part in parts:
        whole.paste(part, ((whole.width - part.width) // 2, top))
        top += part.height
    whole.save(picture, quality=86)
    print(picture)  # noqa: T201


def photograph(model: Path, clip: Clip) -> Image.Image:
    """Return a screenshot of the page with the clip as its camera."""
    camera, picture = model.parent / "camera.y4m", model.parent / "page.png"
    with av.open(str(camera), "w", format="yuv4mpegpipe") as file:
        stream = file.add_stream("wrapped_avframe", rate=24)
        stream.height, stream.width = clip.size
        stream.pix_fmt = "yuv420p"
        for pixels, *_ in clip.images():
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            file.mux(stream.encode(frame.reformat(format="yuv420p")))
        file.mux(stream.encode())
    with open_site([model]) as site, listening(site, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://{HOST}:{server.server_port}/"
        script = Path(__file__).with_name("readme_pictures.mjs")
        node, chromium = find_node("the picture", WEB), find_chromium("the picture")
        subprocess.run([node, script, WEB, chromium, address, camera, picture], check=True)  # noqa: S603
        server.shutdown()
    return Image.open(picture, formats=("PNG",)).convert("RGB")


if __name__ == "__main__":
    main()
