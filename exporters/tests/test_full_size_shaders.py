"""The full-size steps as shaders, in Chromium, against the reference in float64."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from exporters.tfjs.step import FOLDER as WEB
from rvm_model.full_size import finished, reduced
from rvm_model.state import internal_size

HERE = Path(__file__).parent
MODULES = HERE.parent / "support" / "web"
CASES = ((96, 64, 0.5), (97, 61, 0.375), (61, 97, 0.7123), (33, 21, 0.25), (40, 24, 1.0), (320, 180, 512 / 1920))
"""Width, height and ratio of the frames. Each is another size than the one before, on the same object."""


def made(width, height, ratio, seed):
    """Return a random frame and line."""
    generator = np.random.default_rng(seed)
    h, w = internal_size(height, width, ratio)
    pixels = generator.integers(0, 256, (height, width, 4), np.uint8)
    pixels[..., 3] = 255  # a frame is opaque
    A, b = generator.normal(0, 1, (2, 4, h, w)).astype(np.float32)
    return {"pixels": pixels, "width": width, "height": height, "ratio": ratio, "A": A, "b": b}


def run(chromium, node, cases, kind):
    """Return what the shaders make of cases."""
    lists = [
        {key: np.ravel(value).tolist() if np.ndim(value) > 1 else value for key, value in case.items()}
        for case in cases
    ]
    done = subprocess.run(
        [node, HERE / "full_size_page.mjs", WEB, chromium, MODULES, kind],
        input=json.dumps(lists),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    given = json.loads(done.stdout)
    assert given["trouble"] == []
    assert given["lost"] == []  # to dispose of a stage is no loss
    return given["results"]


@pytest.fixture(scope="module", params=["webgl", "webgpu"])
def played(request, chromium, node):
    """Return cases and results. The frame that is last has one pixel at most, and is refused."""
    cases = [made(*case, seed) for seed, case in enumerate(CASES)]
    refused = [cases[0] | {"ratio": 0.001}, cases[0] | {"ratio": 1.5}]
    results = run(chromium, node, [*cases, *refused], request.param)
    return [*zip(cases, results, strict=False)], [each["error"] for each in results[len(cases) :]]


@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{w}x{h}-{ratio:g}" for w, h, ratio in CASES])
def test_they_are_the_reference(number, played):
    case, given = played[0][number]
    assert "error" not in given, given
    src = torch.from_numpy(case["pixels"][..., :3].transpose(2, 0, 1)[None] / 255)
    small = reduced(src, case["ratio"]).numpy()[0]
    assert (given["height"], given["width"]) == small.shape[1:]
    np.testing.assert_allclose(np.reshape(given["data"], small.shape), small, rtol=0, atol=4e-7)
    line = (torch.from_numpy(case[name][None].astype(np.float64)) for name in ("A", "b"))
    expected = 255 * torch.cat(finished(*line, src), 1)[0].permute(1, 2, 0).numpy()
    pixels = np.reshape(given["pixels"], expected.shape)
    assert np.abs(pixels - expected).max() < 0.51  # the nearest level
    assert expected.std() > 50
    if "drawn" in given:  # a canvas holds premultiplied bytes, and returns them divided
        colour, alpha = np.split(np.reshape(given["drawn"], expected.shape), [3], -1)
        assert np.abs(alpha - expected[..., 3:]).max() < 0.51
        assert np.abs((colour * alpha - expected[..., :3] * expected[..., 3:]) / 255).max() < 1.01


def test_without_webgl_it_says_so(node):
    code = f'const {{ FullSize }} = await import("{(MODULES / "full_size.js").as_uri()}"); new FullSize();'
    done = subprocess.run([node, "--input-type=module", "--eval", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Error: there is no WebGL2 here that renders floats; choose a file of mattes" in done.stderr


def test_a_frame_that_no_pixel_is_left_of_is_refused(played):
    for error, ratio in zip(played[1], ("0.001", "1.5"), strict=True):
        assert error == (
            f"RangeError: a frame of 96x64 cannot be reduced by {ratio}; give a ratio in (0, 1] that leaves a pixel"
        )
