"""The page of `rvm-export demo` in Chromium, and the command that serves or writes it."""

import http.client
import json
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

import av
import numpy as np
import pytest
from PIL import Image

from exporters import FORMATS, load_exporter
from exporters.onnx import OnnxSpec
from exporters.spec import Fixed
from exporters.tfjs.step import FOLDER as WEB
from parity_tests.cases import REAL_CLIP, case_checkpoint, shared_folder
from parity_tests.clips import Clip, builtin_clip, held_clip, load_clip
from parity_tests.play import play_reference
from rvm_model import load_checkpoint
from rvm_model.video.background import open_background
from tools.demo import command as command_module
from tools.demo import site as site_module
from tools.demo.serve import HOST, PortError, listening
from tools.demo.site import HEADERS, open_site, write_site
from tools.tests.children import started

pytestmark = pytest.mark.timeout(1800)

HERE = Path(__file__).parent
WIDTH, HEIGHT, RATIO = 160, 96, 0.5
COLOUR = "#1f9d83"  # the page's initial colour
LIMIT = 2 / 255
TIMES = "\N{MULTIPLICATION SIGN}"
KIND = {"variant": "mobilenetv3", "refiner": "deep_guided_filter"}
OTHER_KIND = {"variant": "mobilenetv3", "refiner": "fast_guided_filter"}


@pytest.fixture(scope="module")
def weights():
    return "from_tfjs" if shared_folder() else "seeded"


@pytest.fixture(scope="module")
def checkpoint(weights):
    return case_checkpoint(weights, **KIND)


@pytest.fixture(scope="module")
def other_checkpoint(weights):
    """Return the checkpoint of the second model, so that the two differ visibly."""
    return case_checkpoint(weights, **OTHER_KIND)


@pytest.fixture(scope="module")
def clip() -> Clip:
    shared = shared_folder()
    return (load_clip(shared / REAL_CLIP) if shared else builtin_clip()).resized(WIDTH, HEIGHT)


@pytest.fixture(scope="module")
def files(exported, weights, tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    made = {
        "model.zip": exported("tfjs", weights, precision="int8"),
        "model.onnx": exported("onnx", weights, **OTHER_KIND),
        "line.onnx": exported("onnx", weights, outputs="coefficients", **OTHER_KIND),
        "line.zip": exported("tfjs", outputs="coefficients"),
    }
    return [Path(shutil.copy(path, folder / name)) for name, path in made.items()]


@pytest.fixture(scope="module")
def asked(chromium, files, clip, tmp_path_factory) -> dict:
    """Return the results of one Chromium session, which opens one page after the other."""
    folder = tmp_path_factory.mktemp("page")
    write_clip(folder / "camera.y4m", clip, "yuv4mpegpipe", "wrapped_avframe")
    write_clip(folder / "clip.webm", clip, "webm", "libvpx-vp9")
    Image.fromarray(clip.pixels[0, 0]).save(folder / "picture.png")
    Image.fromarray(clip.pixels[0, 0, ::-1]).save(folder / "background.png")
    (folder / "plain" / "below").mkdir(parents=True)
    plain = partial(QuietHandler, directory=folder / "plain")
    with (
        open_site(files) as site,
        listening(site, 0) as server,
        ThreadingHTTPServer((HOST, 0), plain) as other,
        running(server),
        running(other),
    ):
        write_site(site, folder / "plain" / "below")
        settings = {
            "web": str(WEB),
            "executablePath": chromium,
            "address": f"http://{HOST}:{server.server_port}/",
            "plain": f"http://{HOST}:{other.server_port}/below/",
            "folder": str(folder),
            "camera": str(folder / "camera.y4m"),
            "video": str(folder / "clip.webm"),
            "picture": str(folder / "picture.png"),
            "background": str(folder / "background.png"),
        }
        (folder / "settings.json").write_text(json.dumps(settings))
        done = subprocess.run(
            ["node", HERE / "demo_page.mjs", folder / "settings.json"], capture_output=True, text=True, timeout=600
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) | settings | {"folder": folder}


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def running(server):
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


def write_clip(path: Path, clip: Clip, container: str, codec: str) -> None:
    with av.open(path, "w", format=container) as file:
        stream = file.add_stream(codec, rate=12)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for frame in clip.pixels[:, 0]:
            image = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            file.mux(stream.encode(image.reformat(format="yuv420p")))
        file.mux(stream.encode())


def shown(asked, name) -> np.ndarray:
    """Return the content of a canvas of the page: (H, W, 4), in [0, 1]."""
    return np.fromfile(asked["folder"] / f"{name}.rgba", np.uint8).reshape(HEIGHT, WIDTH, 4) / np.float32(255)


def recorded(asked, name) -> Clip:
    """Return the frames that the page gave its model since the last reset of the states."""
    assert all(size == [WIDTH, HEIGHT] for size in asked[name])
    pixels = np.fromfile(asked["folder"] / f"{name}.rgba", np.uint8).reshape(-1, 1, HEIGHT, WIDTH, 4)
    assert len(pixels) == len(asked[name])
    return held_clip(name, pixels[..., :3])


def last(checkpoint, clip) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return source, foreground and alpha of a clip's last frame in PyTorch, (C, H, W)."""
    *_, outputs = play_reference(checkpoint.network(), clip, RATIO)
    return [*clip][-1][0], outputs["fgr"][0], outputs["pha"][0]


def composite(checkpoint, clip, background) -> np.ndarray:
    src, fgr, pha = last(checkpoint, clip)
    behind = open_background(str(background), WIDTH, HEIGHT)(src, pha, 0.0)
    return (fgr * pha + behind * (1 - pha)).transpose(1, 2, 0)


def mean_difference(one, other) -> float:
    return float(np.abs(one - other).mean())


def test_the_camera_shows_the_clip(asked, clip):
    frames = recorded(asked, "clip").pixels[:, 0] / np.float32(255)
    assert len(frames) >= 8
    nearest = [min(mean_difference(frame, each[0] / np.float32(255)) for each in clip.pixels) for frame in frames]
    assert max(nearest) < 0.03  # loss of YUV and back
    assert (frames != frames[0]).any()


@pytest.mark.parametrize("background", [COLOUR, "blur", "picture"])
def test_composites_are_pythons(asked, checkpoint, background):
    name = "colour" if background == COLOUR else background
    given = asked["background"] if background == "picture" else background
    image = shown(asked, name)
    assert (image[..., 3] == 1).all()
    expected = composite(checkpoint, recorded(asked, "clip"), given)
    assert mean_difference(image[..., :3], expected) <= LIMIT
    assert mean_difference(image[..., :3], composite(checkpoint, recorded(asked, "clip"), "#ff00ff")) > 5 * LIMIT


def test_so_are_those_of_an_onnx_file(asked, other_checkpoint):
    clip = recorded(asked, "onnx_clip")
    assert len(clip) >= 6
    expected = composite(other_checkpoint, clip, COLOUR)
    assert mean_difference(shown(asked, "onnx_colour")[..., :3], expected) <= LIMIT


@pytest.mark.parametrize("name", ["onnx", "tfjs"])
def test_so_are_those_of_a_file_of_coefficients(name, asked, other_checkpoint):
    clip = recorded(asked, f"{name}_line_clip")
    assert len(clip) >= 6
    weights = other_checkpoint if name == "onnx" else case_checkpoint("seeded", **KIND)
    expected = composite(weights, clip, COLOUR)
    assert mean_difference(shown(asked, f"{name}_line_colour")[..., :3], expected) <= LIMIT


def test_so_are_those_on_webgl(asked, checkpoint):
    expected = composite(checkpoint, recorded(asked, "webgl_clip"), COLOUR)
    assert mean_difference(shown(asked, "webgl_colour")[..., :3], expected) <= LIMIT


def test_alpha_and_foreground_are_pythons(asked, checkpoint):
    _, fgr, pha = last(checkpoint, recorded(asked, "clip"))
    alpha = shown(asked, "alpha")
    assert np.ptp(alpha[..., 0]) > 0.5
    assert mean_difference(alpha[..., :3], pha.transpose(1, 2, 0)) <= LIMIT
    assert mean_difference(shown(asked, "foreground")[..., :3] * (pha[0] > 0.5)[..., None], 0) > LIMIT
    assert (np.abs(shown(asked, "foreground")[..., :3] - fgr.transpose(1, 2, 0)) * pha[0][..., None]).mean() <= LIMIT


def test_before_is_the_source(asked):
    assert asked["before"] == {"shown": True, "moved": True}
    source = recorded(asked, "clip").pixels[-1, 0] / np.float32(255)
    assert mean_difference(shown(asked, "before")[..., :3], source) < 1e-6


def test_the_four_states_are_shown(asked):
    assert [state["caption"] for state in asked["states"]] == [
        f"r1 · 16 channels of 40 {TIMES} 24",
        f"r2 · 20 channels of 20 {TIMES} 12",
        f"r3 · 40 channels of 10 {TIMES} 6",
        f"r4 · 64 channels of 5 {TIMES} 3",
    ]
    assert [state["size"] for state in asked["states"]] == [[160, 96], [100, 48], [70, 36], [40, 24]]
    assert all(state["colours"] > 50 for state in asked["states"])


def test_figures_and_facts(asked):
    figures = asked["figures"]
    assert float(figures["time"]) > 0
    assert float(figures["fps"]) > 0
    assert figures["memory"].endswith(" MB")
    assert figures["tensors"].startswith("in ")
    assert figures["runs"] == "WebAssembly"
    assert figures["state"] == f"Camera at 160 {TIMES} 96, ratio 0.5"
    for fact in ("TensorFlow.js", "MobileNetV3", "int8", "3,737,743", "rvm-export"):
        assert fact in figures["facts"]
    assert asked["isolated"]


def test_a_picture_is_one_frame_of_a_clip_of_its_own(asked, checkpoint):
    assert asked["stillFrames"] == 1
    expected = composite(checkpoint, recorded(asked, "still"), COLOUR)
    assert mean_difference(shown(asked, "still_colour")[..., :3], expected) <= LIMIT


def test_a_png_has_alpha(asked, checkpoint):
    assert asked["png"] == "picture_matte.png"
    image = Image.open(asked["folder"] / asked["png"])
    assert (image.mode, image.size) == ("RGBA", (WIDTH, HEIGHT))
    _, fgr, pha = last(checkpoint, recorded(asked, "still"))
    pixels = np.asarray(image) / np.float32(255)
    assert mean_difference(pixels[..., 3], pha[0]) <= LIMIT
    assert (np.abs(pixels[..., :3] - fgr.transpose(1, 2, 0)) * pha[0][..., None]).mean() <= LIMIT


def test_a_webm_has_alpha(asked):
    assert asked["webm"] == "clip_matte.webm"
    with av.open(asked["folder"] / asked["webm"]) as file:
        stream = file.streams.video[0]
        assert (stream.width, stream.height) == (WIDTH, HEIGHT)
        decoder = av.CodecContext.create("libvpx-vp9", "r")  # FFmpeg's own decoder drops alpha
        frames = [frame for packet in file.demux(stream) for frame in decoder.decode(packet)]
    assert len(frames) >= 3
    alpha = frames[-1].to_ndarray(format="rgba")[..., 3]
    assert alpha.min() < 64
    assert alpha.max() > 192


def test_a_dropped_video_plays(asked):
    assert asked["dropped"] == f"clip.webm at 160 {TIMES} 96, ratio 0.5"
    assert not asked["alertAfterDrop"]


def test_what_is_no_video_is_said_and_what_was_there_stays(asked):
    assert asked["noVideo"] == "notes.txt is no video that this browser plays. Try an MP4 (H.264) or a WebM."
    assert asked["keptAfterError"]


def test_two_models_and_their_difference(asked):
    ours, other, difference = asked["beside"]
    assert ours.startswith("model.zip · WebAssembly · ")
    assert other.startswith("model.onnx · WebAssembly · ")
    assert difference.startswith(f"Alpha's difference {TIMES} 20 · at most ")
    small, large = (shown(asked, f"difference_{amplify}")[..., 0] for amplify in (20, 100))
    assert 0 < small.sum() < large.sum()
    np.testing.assert_allclose(large, np.minimum(5 * small, 1), atol=1 / 255)


def test_another_backend_and_a_lost_context(asked):
    assert asked["webgl"] == "WebGL"
    assert asked["lost"] == "The graphics context was lost: starting again"
    assert asked["afterLoss"] == "WebGL"
    assert not asked["alertAfterLoss"]
    assert asked["workers"] == 1


def test_memory_stays_over_300_frames(asked):
    measured = asked["memory"]
    assert len({each["tensors"] for each in asked["memory"]}) == 1
    assert len({each["bytes"] for each in asked["memory"]}) == 1
    for heap in ("heap", "worker"):
        # Compiled code comes and goes, so compare the minima. A frame is 61,440 bytes: a leak of all frames would be 18
        # MB.
        begin, end = (min(each[heap] for each in some) for some in (measured[:3], measured[-3:]))
        assert end - begin < 500_000


def test_all_is_reached_by_keyboard_and_seen_to_be(asked):
    seen = {each["name"]: each["ring"] for each in asked["keyboard"]["seen"]}
    controls = {
        "camera",
        "view",
        "compare-before",
        "resolution",
        "ratio",
        "background",
        "model-a",
        "backend-a",
        "model-b",
    }
    assert controls <= seen.keys()
    assert all(seen.values()), seen
    assert asked["keyboard"]["view"] == "alpha"


def test_it_fits_a_phone(asked):
    assert asked["phone"] <= 375


@pytest.mark.parametrize("name", ["empty", "at work", "dark", "phone", "two models"])
def test_axe_finds_nothing(asked, name):
    assert asked["axe"][name]["passes"] > 20
    assert asked["axe"][name]["violations"] == []


def test_the_console_is_silent(asked):
    assert asked["trouble"] == []


def test_nothing_else_is_asked(asked):
    ours = (asked["address"], asked["plain"], "blob:")
    assert [url for url in asked["requests"] if not url.startswith(ours)] == []
    assert any(url.endswith(".wasm") for url in asked["requests"])  # shows that requests of workers are recorded too


def test_errors_are_for_people(asked):
    refused = asked["refused"]
    assert refused["NotFoundError"]["text"].startswith("No camera was found. Connect one")
    assert refused["NotAllowedError"]["text"].startswith("The camera is blocked. Allow it")
    assert "could not be loaded. Is rvm-export demo still running?" in refused["model"]["text"]
    assert "needs more memory than the browser gives. Choose a smaller resolution" in refused["memory"]["text"]
    assert {each["role"] for each in refused.values()} == {"alert"}


def test_a_context_that_is_always_lost_is_given_up(asked):
    assert asked["lostForGood"] == {
        "told": "The graphics context is lost again and again: on to WebAssembly",
        "backend": "wasm",
    }


def test_any_web_server_will_do(asked):
    assert asked["elsewhere"] == {"isolated": True, "policy": HEADERS["Content-Security-Policy"]}


# ---- The command


@pytest.fixture
def onnx_file(tmp_path) -> Path:
    return export_onnx(tmp_path / "model.onnx")


def export_onnx(path: Path, **options) -> Path:
    load_exporter("onnx").export(case_checkpoint("seeded", **KIND), OnnxSpec(precision="fp32", **KIND, **options), path)
    return path


def ask(server, address, host=None):
    with closing(http.client.HTTPConnection(HOST, server.server_port, timeout=60)) as connection:
        connection.request("GET", address, headers={"Host": host or f"{HOST}:{server.server_port}"})
        answer = connection.getresponse()
        return answer, answer.read()


def test_the_server_gives_the_page_and_nothing_else(node, onnx_file):
    with open_site([onnx_file]) as site, listening(site, 0) as server, running(server):
        answer, body = ask(server, "/")
        assert answer.status == 200
        assert b"<!doctype html>" in body
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        assert ask(server, "/models/0/model.onnx")[1] == onnx_file.read_bytes()
        for address in ("/../site.py", "/models/0/../../headers.js", "/lib/", "/package.json", "//etc/passwd"):
            assert ask(server, address)[0].status == 404
        assert ask(server, "/", host="example.org")[0].status == 404
        with pytest.raises(PortError, match=f"--port {server.server_port}: .*; give another"):
            listening(site, server.server_port).__enter__()


def test_the_page_knows_what_its_models_are(node, tmp_path):
    size = Fixed(width=64, height=48, ratio=0.5)
    paths = [export_onnx(tmp_path / "a.onnx"), export_onnx(tmp_path / "b.onnx", fixed=size, outputs="pha")]
    with open_site(paths) as site:
        entries = json.loads(site["models.json"])
    assert [entry["name"] for entry in entries] == ["a.onnx", "b.onnx"]
    assert [entry["fixed"] for entry in entries] == [None, {"width": 64, "height": 48, "ratio": 0.5}]
    assert entries[0]["bytes"] == paths[0].stat().st_size
    assert entries[0]["metadata"]["checkpoint"] == "seeded"


def test_a_folder_is_written_and_replaced_only_on_demand(node, onnx_file, run, tmp_path):
    folder = tmp_path / "page"
    first = run("demo", "--model", onnx_file, "--static", folder)
    assert (first.code, first.out.strip()) == (0, str(folder))
    assert (folder / "models" / "0" / "model.onnx").read_bytes() == onnx_file.read_bytes()
    assert {path.name for path in site_module.PAGE.iterdir()} <= {path.name for path in folder.iterdir()}
    assert "exists; use --force" in run("demo", "--model", onnx_file, "--static", folder).error
    assert run("demo", "--model", onnx_file, "--static", folder, "--force").code == 0
    inside = folder / "models" / "0" / "model.onnx"
    assert "would replace" in run("demo", "--model", inside, "--static", folder, "--force").error
    assert "something else" in run("demo", "--model", onnx_file, "--static", tmp_path, "--force").error


def test_without_a_model_it_makes_one(node, run, monkeypatch, tmp_path):
    sources = []
    monkeypatch.setattr(
        command_module, "load_checkpoint", lambda source: sources.append(source) or load_checkpoint("seeded")
    )
    result = run("demo", "--static", tmp_path / "page")
    assert result.code == 0
    assert sources == ["auto"]
    assert "No --model was given" in result.err
    (entry,) = json.loads((tmp_path / "page" / "models.json").read_text())
    assert entry["name"] == "rvm_mobilenetv3_opset17_ceilfree_fp32_seeded.onnx"
    assert (tmp_path / "page" / "models" / "0" / "model.onnx").stat().st_size == entry["bytes"]


def test_it_serves_until_ctrl_c(node, onnx_file):
    command = [
        sys.executable,
        "-c",
        "from tools.cli.main import main; main()",
        "demo",
        "--model",
        onnx_file,
        "--port",
        "0",
    ]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        address = process.stdout.readline().strip()
        with urlopen(address, timeout=60) as answer:
            assert b"Live matting" in answer.read()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    assert err.splitlines() == ["The page is there until Ctrl-C. What it sees stays in the browser."]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"outputs": "fgr"}, "was made without pha"),
        ({"fixed": Fixed(width=64, height=48, ratio=0.5, batch=2)}, "was made for a batch of 2"),
    ],
)
def test_what_the_page_cannot_show_is_refused(options, said, run, tmp_path):
    path = export_onnx(tmp_path / "model.onnx", **options)
    result = run("demo", "--model", path)
    assert result.code == 2
    assert said in result.error


def test_a_format_for_elsewhere_is_refused(run, tmp_path):
    spec = FORMATS["torchscript"].spec(precision="fp32", **KIND)
    load_exporter("torchscript").export(case_checkpoint("seeded", **KIND), spec, tmp_path / "model.torchscript")
    said = run("demo", "--model", tmp_path / "model.torchscript").error
    assert "browsers do not run; give a TensorFlow.js or ONNX file" in said


def test_missing_packages_are_said_with_the_command_that_installs_them(run, onnx_file, monkeypatch, tmp_path):
    (tmp_path / "onnx" / "web").mkdir(parents=True)
    package = Path(site_module.__file__).parents[2] / "exporters" / "onnx" / "web" / "package.json"
    (tmp_path / "onnx" / "web" / "package.json").write_bytes(package.read_bytes())
    monkeypatch.setattr(site_module, "_EXPORTERS", tmp_path)
    assert f"run: npm ci --prefix {tmp_path / 'onnx' / 'web'}" in run("demo", "--model", onnx_file).error
