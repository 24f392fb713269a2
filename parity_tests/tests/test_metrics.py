"""Each figure, compared with values computed by hand and with a second derivation that is slow and plain."""

import math
from dataclasses import asdict

import numpy as np
import pytest

from parity_tests.judging.metrics import MatteMetrics

ALPHA = ("mad", "mse", "grad", "conn", "dtssd")


def alpha(rows):
    return np.array(rows, np.float32)[None, None]


def measure(*frames):
    metrics = MatteMetrics()
    for frame in frames:
        metrics.add(*frame)
    return metrics.quality()


def random_mattes(rng, height=9, width=12, batch=1):
    """Return a true alpha and one near it, (B, 1, H, W), with zeros, ones, plateaus and soft values."""
    true = np.clip(rng.uniform(-0.5, 1.5, (batch, 1, height, width)), 0, 1)
    true[..., : width // 2] = np.round(true[..., : width // 2] * 2) / 2
    given = np.clip(true + rng.normal(0, 0.2, true.shape), 0, 1)
    return true.astype(np.float32), given.astype(np.float32)


# By hand


def test_mad_and_mse_are_means_over_pixels_and_frames():
    quality = measure(
        (alpha([[0, 1], [1, 0]]), alpha([[0.5, 1], [1, 0]])),  # 0.5 / 4 and 0.25 / 4
        (alpha([[0, 1], [1, 0]]), alpha([[0, 0], [0, 0]])),  # 2 / 4 and 2 / 4
    )
    assert quality.mad == (0.125 + 0.5) / 2
    assert quality.mse == (0.0625 + 0.5) / 2


def test_dtssd_counts_from_the_second_frame_and_per_frame():
    zero = alpha([[0, 0], [0, 0]])
    quality = measure(
        (
            zero,
            alpha(
                [
                    [
                        0.5,
                        0,
                    ],
                    [0, 0],
                ]
            ),
        ),
        (zero, alpha([[0.5, 1], [0, 0]])),  # one of four pixels changes by 1: sqrt(1 / 4)
        (zero, alpha([[0.5, 1], [0, 0]])),  # nothing changes
    )
    assert quality.dtssd == (0.5 + 0) / 2


def test_dtssd_forgives_an_error_that_stays():
    frames = [(alpha([[k / 4, 0]]), alpha([[k / 4 + 0.25, 0]])) for k in range(3)]
    assert measure(*frames).dtssd == 0
    assert measure(*frames).mad == 0.125


def test_one_frame_has_no_dtssd():
    assert math.isnan(measure((alpha([[0, 1]]), alpha([[0, 1]]))).dtssd)


def test_grad_of_one_bright_pixel():
    """Use an impulse: its gradient is the kernel itself, and x and y kernels have a sum of squares of 1 each."""
    true, given = np.zeros((2, 1, 1, 31, 31), np.float32)
    true[..., 15, 15] = 1
    assert measure((true, given)).grad == pytest.approx(2, rel=1e-6)
    assert measure((given, true)).grad == pytest.approx(2, rel=1e-6)


def test_grad_sees_each_alpha_stretched():
    true, _ = random_mattes(np.random.default_rng(0))
    assert measure((true, 0.25 + true / 2)).grad == pytest.approx(0, abs=1e-9)


def test_conn_of_a_part_cut_off():
    """Set the pixel at the right to 1 on both sides, but connect it only in the truth."""
    true, given = alpha([[1, 1, 1, 1, 1]]), alpha([[1, 1, 1, 0, 1]])
    # Largest region at every threshold: the left three. Connected level: 1, 1, 1, 0, 0.
    # Degrees of the truth: 1, 1, 1, 0, 0; of the matte: 1, 1, 1, 1, 0.
    assert measure((true, given)).conn == 1


def test_conn_of_a_soft_pixel():
    """Set a pixel to 0.45, connected up to 0.4: the truth is 0.6 above, the matte 0.05, which is not noticed."""
    true, given = alpha([[1, 1, 1]]), alpha([[1, 1, 0.45]])
    assert measure((true, given)).conn == pytest.approx(0.6, rel=1e-6)


def test_conn_does_not_connect_by_corners():
    both = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]]
    true, given = alpha(both), alpha(both)
    given[..., 2, 2] = 0.5  # cut off on both sides: 1 above the level of 0, and 0.5 above
    assert measure((true, given)).conn == 0.5


def test_foreground_counts_where_true_alpha_is_above_0():
    true_pha = alpha([[0, 0.1], [1, 0]])
    true_fgr = np.zeros((1, 3, 2, 2), np.float32)
    fgr = true_fgr.copy()
    fgr[:, :, 0, 0] = 1  # not shown
    fgr[:, 0, 0, 1] = 0.5  # one of six shown values is off
    quality = measure((true_pha, true_pha, true_fgr, fgr))
    assert quality.fgr_mse == 0.25 / 6
    assert quality.mse == 0


def test_a_frame_without_foreground_pixels_does_not_count():
    fgr = np.zeros((1, 3, 1, 2), np.float32)
    empty, full = alpha([[0, 0]]), alpha([[1, 1]])
    assert math.isnan(measure((empty, empty, fgr, fgr + 1)).fgr_mse)
    assert measure((empty, empty, fgr, fgr + 1), (full, full, fgr, fgr + 0.5)).fgr_mse == 0.25


# A second derivation


def gradient_error_by_loops(true, given, sigma=1.4):
    def gaussian(x):
        return math.exp(-x * x / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))

    radius = next(r for r in range(1, 99) if gaussian(r) <= 0.01)
    offsets = range(-radius, radius + 1)
    kernel = {(i, j): gaussian(i) * -j * gaussian(j) / sigma**2 for i in offsets for j in offsets}
    norm = math.sqrt(sum(value**2 for value in kernel.values()))

    def magnitudes(image):
        image = (image.astype(np.float64) - image.min()) / (np.float64(image.max()) - image.min())
        height, width = image.shape
        result = np.zeros(image.shape)
        for y in range(height):
            for x in range(width):
                gx = gy = 0.0
                for (i, j), value in kernel.items():
                    gx += value / norm * image[min(max(y + i, 0), height - 1), min(max(x + j, 0), width - 1)]
                    gy += value / norm * image[min(max(y + j, 0), height - 1), min(max(x + i, 0), width - 1)]
                result[y, x] = math.hypot(gx, gy)
        return result

    return ((magnitudes(true) - magnitudes(given)) ** 2).sum()


def flood(mask):
    """Return the largest region of `mask` as a set of (y, x), the first found of equal ones."""
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}
    best = set()
    while left:
        region, todo = set(), [min(left)]
        while todo:
            y, x = todo.pop()
            if (y, x) in left:
                left.remove((y, x))
                region.add((y, x))
                todo += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
        best = max(best, region, key=len)
    return best


def connectivity_error_by_flood(true, given):
    regions = [flood((true >= np.float32(k / 10)) & (given >= np.float32(k / 10))) for k in range(1, 11)]
    total = 0.0
    for y, x in np.ndindex(true.shape):
        missed = [k for k, region in enumerate(regions) if (y, x) not in region]
        connected = min(missed, default=10) / 10
        degrees = [1 - (d if d >= 0.15 else 0) for d in (float(a[y, x]) - connected for a in (true, given))]
        total += abs(degrees[0] - degrees[1])
    return total


@pytest.mark.parametrize("seed", range(4))
def test_grad_is_what_loops_give(seed):
    true, given = random_mattes(np.random.default_rng(seed))
    assert measure((true, given)).grad == pytest.approx(gradient_error_by_loops(true[0, 0], given[0, 0]), rel=1e-4)


@pytest.mark.parametrize("seed", range(30))
def test_conn_is_what_flood_filling_gives(seed):
    true, given = random_mattes(np.random.default_rng(seed))
    expected = connectivity_error_by_flood(true[0, 0], given[0, 0])
    assert measure((true, given)).conn == pytest.approx(expected, rel=1e-5)
    assert expected > 0.1


def test_conn_of_bytes_is_what_flood_filling_gives():
    """Use bytes on thresholds: 51 / 255 is 0.2."""
    rng = np.random.default_rng(5)
    true, given = rng.choice(np.array([0, 51, 102, 153, 204, 255], np.float32), (2, 1, 1, 10, 10)) / np.float32(255)
    expected = connectivity_error_by_flood(true[0, 0], given[0, 0])
    assert measure((true, given)).conn == pytest.approx(expected, rel=1e-5)


def test_batch_entries_are_frames_of_their_own():
    rng = np.random.default_rng(0)
    clip = [(*random_mattes(rng, batch=2), *rng.random((2, 2, 3, 9, 12), np.float32)) for _ in range(3)]
    together = asdict(measure(*clip))
    apart = [asdict(measure(*(tuple(side[k : k + 1] for side in frame) for frame in clip))) for k in range(2)]
    for name, value in together.items():
        assert value == pytest.approx((apart[0][name] + apart[1][name]) / 2), name


# Perfect, and broken


def test_a_perfect_matte_is_zero_in_all():
    rng = np.random.default_rng(0)
    frames = [random_mattes(rng, batch=2)[0] for _ in range(3)]
    fgr = rng.random((2, 3, 9, 12), np.float32)
    assert set(asdict(measure(*((pha, pha.copy(), fgr, fgr.copy()) for pha in frames))).values()) == {0.0}


@pytest.mark.parametrize("value", [0, 0.5, 1])
def test_a_perfect_even_matte_is_zero(value):
    pha = np.full((1, 1, 4, 5), value, np.float32)
    quality = measure((pha, pha), (pha, pha))
    assert {getattr(quality, name) for name in ALPHA} == {0.0}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("frame", [0, 1, 2])
def test_one_bad_alpha_value_is_nan_in_all(bad, side, frame):
    pha, _ = random_mattes(np.random.default_rng(0))
    frames = [[pha.copy(), pha.copy()] for _ in range(3)]
    frames[frame][side][0, 0, 3, 3] = bad
    quality = measure(*frames)
    assert all(math.isnan(getattr(quality, name)) for name in ALPHA), quality


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("side", [0, 2, 3])
def test_one_bad_value_is_nan_in_the_foreground(bad, side):
    pha = alpha([[0, 1]])
    frame = [pha, pha.copy(), np.zeros((1, 3, 1, 2), np.float32), np.zeros((1, 3, 1, 2), np.float32)]
    frame[side] = frame[side].copy()
    frame[side][0, 0, 0, 0] = bad  # where the true alpha is 0, or is itself bad
    assert math.isnan(measure(frame).fgr_mse)


def test_nothing_is_nan():
    assert all(math.isnan(value) for value in asdict(MatteMetrics().quality()).values())


def test_half_precision_is_read():
    true, given = random_mattes(np.random.default_rng(0))
    true, given = true.astype(np.float16), given.astype(np.float16)
    assert measure((true, given)).mad == measure((true.astype(np.float64), given.astype(np.float64))).mad


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((1, 3, 4, 4), (1, 3, 4, 4)), "true_pha has shape"),
        (((4, 4), (4, 4)), "true_pha has shape"),
        (((1, 1, 0, 4), (1, 1, 0, 4)), "true_pha has shape"),
        (((1, 1, 4, 4), (1, 1, 4, 1)), "pha has shape"),
        (((1, 1, 4, 4), (1, 1, 4, 4), (1, 3, 4, 4)), "one foreground is missing"),
        (((1, 1, 4, 4), (1, 1, 4, 4), (1, 3, 4, 4), (1, 1, 4, 4)), "fgr has shape"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shapes, message):
    with pytest.raises(ValueError, match=message):
        measure([np.zeros(shape, np.float32) for shape in shapes])


def test_a_frame_of_another_size_is_refused():
    with pytest.raises(ValueError, match="frame before"):
        measure((alpha([[0, 1]]),) * 2, (alpha([[0], [1]]),) * 2)
