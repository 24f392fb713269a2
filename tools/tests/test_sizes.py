"""`--resolution`, `--downsample-ratio` and `--batch`: valid and invalid values."""

import pytest

from exporters.spec import Fixed
from rvm_model.errors import UserError
from tools.shared.sizes import parse_sizes


def test_the_nth_ratio_goes_with_the_nth_resolution():
    assert parse_sizes(["1280x720", "1920x1080"], ["0.375", "0.25"], None) == [
        Fixed(width=1280, height=720, ratio=0.375),
        Fixed(width=1920, height=1080, ratio=0.25),
    ]


def test_auto_is_the_default_and_safe():
    assert parse_sizes(["512x512"], [], 2) == [Fixed(width=512, height=512, ratio=1.0, batch=2)]
    assert parse_sizes(["854x480"], ["auto"], None) == [Fixed(width=854, height=480, ratio=0.6)]


def test_without_a_resolution_a_file_takes_any():
    assert parse_sizes([], [], None) == [None]


@pytest.mark.parametrize(
    ("resolutions", "ratios", "batch", "message"),
    [
        ([], ["0.5"], None, "--downsample-ratio goes with a --resolution"),
        ([], [], 2, "--batch goes with a --resolution"),
        (["64x64", "32x32"], ["0.5"], None, "2 resolutions and 1 ratios"),
        (["64x64"], [], 0, "--batch 0: give 1 or more"),
        (["0x0"], [], None, "such as 1280x720"),
        (["abc"], [], None, "such as 1280x720"),
        (["64x"], [], None, "such as 1280x720"),
        (["-64x64"], [], None, "such as 1280x720"),
        (["1\uff12x30"], [], None, "such as 1280x720"),
        (["16777217x1"], ["1"], None, "at most 65535"),
        (["9" * 5000 + "x1"], [], None, "such as 1280x720"),
        (["5000x8"], [], None, "too narrow for ratio auto"),
        (["640x360"], [], 100_000, "would need about"),
        (["64x64x3"], [], None, "such as 1280x720"),
        (["100000x100000"], [], None, "at most 65535"),
        (["60000x60000"], [], None, "would need about"),
        (["64x64"], ["0"], None, r"give a number in \(0, 1\]"),
        (["64x64"], ["1.5"], None, r"give a number in \(0, 1\]"),
        (["64x64"], ["nan"], None, r"give a number in \(0, 1\]"),
        (["64x64"], ["half"], None, r"give a number in \(0, 1\]"),
        (["64x64"], ["0.001"], None, "larger ratio"),
        (["1280x720"], ["0.35"], None, "use ratio 0.349"),
    ],
)
def test_what_makes_no_size_is_said(resolutions, ratios, batch, message):
    with pytest.raises(UserError, match=message) as caught:
        parse_sizes(resolutions, ratios, batch)
    assert "\n" not in str(caught.value)
