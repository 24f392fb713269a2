"""The reference: its keys, its call, its devices and dtypes."""

import json

import pytest
import torch

from rvm_model import MattingNetwork, load_checkpoint
from rvm_model.state import REFINERS, VARIANTS

EVERY_NETWORK = pytest.mark.parametrize(("variant", "refiner"), [(v, r) for v in VARIANTS for r in REFINERS])
RESNET50_LONG = pytest.mark.parametrize(
    ("variant", "refiner"),
    [pytest.param(v, r, marks=[pytest.mark.long] if v == "resnet50" else []) for v in VARIANTS for r in REFINERS],
)
RATIOS = pytest.mark.parametrize("ratio", [1, 0.5, 0.375])


def network(variant="mobilenetv3", refiner="deep_guided_filter", refine="auto"):
    return load_checkpoint("seeded", variant, refiner).network(refine)


def distance(some, others):
    assert [a.shape for a in some] == [b.shape for b in others]
    return max((a.float() - b.float()).abs().max().item() for a, b in zip(some, others, strict=True))


@EVERY_NETWORK
def test_keys_order_and_shapes_are_the_released_ones(variant, refiner, shared):
    suffix = "_fgf" if refiner == "fast_guided_filter" else ""
    released = json.loads((shared / "spec" / f"state_dict_{variant}{suffix}.json").read_text())
    ours = {key: list(value.shape) for key, value in MattingNetwork(variant, refiner).state_dict().items()}
    assert list(ours.items()) == list(released.items())


@pytest.mark.parametrize(
    ("variant", "keys", "fewer", "trainable"),
    [("mobilenetv3", 380, 365, 3_748_633), ("resnet50", 390, 375, 26_890_461)],
)
def test_counts_are_the_published_ones(variant, keys, fewer, trainable):
    deep, fast = MattingNetwork(variant), MattingNetwork(variant, "fast_guided_filter")
    assert (len(deep.state_dict()), len(fast.state_dict())) == (keys, fewer)
    assert sum(parameter.numel() for parameter in deep.parameters()) == trainable


@RESNET50_LONG
@RATIOS
def test_a_clip_at_once_is_its_frames_one_by_one(variant, refiner, ratio):
    model, clip = network(variant, refiner), torch.rand(2, 3, 3, 75, 53)
    at_once = model(clip, None, None, None, None, ratio)
    states, frames = [None] * 4, []
    for frame in clip.unbind(1):
        fgr, pha, *states = model(frame, *states, ratio)
        frames.append((fgr, pha))
    fgr, pha = (torch.stack(outputs, 1) for outputs in zip(*frames, strict=True))
    assert distance(at_once, [fgr, pha, *states]) < 1e-5


@pytest.mark.parametrize(
    ("variant", "refiner"),
    [
        ("mobilenetv3", "deep_guided_filter"),
        *(
            pytest.param(*each, marks=pytest.mark.long)
            for each in (
                ("mobilenetv3", "fast_guided_filter"),
                *(("resnet50", refiner) for refiner in REFINERS),
            )
        ),
    ],
)
def test_scripted_it_is_the_same_network(variant, refiner):
    model = network(variant, refiner)
    scripted = torch.jit.script(model)
    assert list(scripted.state_dict()) == list(model.state_dict())
    for src in (torch.rand(1, 3, 61, 97), torch.rand(1, 2, 3, 61, 97)):
        for ratio in (1, 0.5):
            arguments = (src, None, None, None, None, ratio)
            assert distance(scripted(*arguments), model(*arguments)) < 1e-5
            assert distance(scripted(*arguments, True), model(*arguments, True)) < 1e-5


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (16, 16), (17, 31), (64, 1)])
def test_any_size_works(size):
    fgr, pha, *states = network()(torch.rand(1, 3, *size))
    assert (fgr.shape, pha.shape) == ((1, 3, *size), (1, 1, *size))
    assert len(states) == 4


@RATIOS
def test_no_state_and_a_single_zero_are_one(ratio):
    model, src = network(), torch.rand(2, 3, 61, 97)
    zero = torch.zeros(1, 1, 1, 1)
    assert distance(model(src, downsample_ratio=ratio), model(src, zero, zero, zero, zero, ratio)) == 0


def test_states_matter():
    model, src = network(), torch.rand(1, 3, 64, 64)
    first = model(src)
    assert distance(first, model(src, *first[2:])) > 1e-3


def test_mattes_are_clamped_and_segmentation_is_not():
    src = torch.rand(1, 2, 3, 60, 80)
    fgr, pha, *_ = network()(src, downsample_ratio=0.5)
    assert 0 <= fgr.min() <= fgr.max() <= 1
    assert 0 <= pha.min() <= pha.max() <= 1
    seg, *states = network()(src, downsample_ratio=0.5, segmentation_pass=True)
    assert seg.shape == (1, 2, 1, 30, 40)
    assert len(states) == 4


@RESNET50_LONG
def test_refine_says_what_happens_at_ratio_1(variant, refiner):
    src = torch.rand(1, 3, 48, 64)
    auto, always, never = (network(variant, refiner, refine) for refine in ("auto", "always", "never"))
    assert distance(auto(src), never(src)) == 0
    assert distance(auto(src)[:2], always(src)[:2]) > 1e-3
    assert distance(auto(src)[2:], always(src)[2:]) == 0
    assert distance(auto(src, downsample_ratio=0.5), always(src, downsample_ratio=0.5)) == 0
    with pytest.raises(ValueError, match="never"):
        never(src, downsample_ratio=0.5)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float16, 0.02), (torch.bfloat16, 0.1), (torch.float64, 1e-5)])
@pytest.mark.parametrize("ratio", [pytest.param(1, marks=pytest.mark.long), 0.5])
def test_other_dtypes(dtype, limit, ratio):
    src = torch.rand(1, 3, 64, 96)
    expected = network()(src, downsample_ratio=ratio)
    given = network().to(dtype)(src.to(dtype), downsample_ratio=ratio)
    assert {output.dtype for output in given} == {dtype}
    assert distance(given, expected) < limit


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_on_cuda(cuda, dtype):
    src = torch.rand(1, 2, 3, 64, 96)
    given = network().to("cuda", dtype)(src.to("cuda", dtype), downsample_ratio=0.5)
    limit = {torch.float32: 1e-4, torch.float16: 0.02, torch.bfloat16: 0.1}[dtype]
    assert distance([output.cpu() for output in given], network()(src, downsample_ratio=0.5)) < limit


@pytest.mark.parametrize("arguments", [{"variant": "vgg"}, {"refiner": "none"}, {"refine": "sometimes"}])
def test_unknown_words_are_refused_with_the_known_ones(arguments):
    with pytest.raises(ValueError, match="choose one of"):
        MattingNetwork(**arguments)


@pytest.mark.parametrize("ratio", [0, -0.5, 1.5, float("nan")])
def test_bad_ratios_are_refused(ratio):
    with pytest.raises(ValueError, match=r"in \(0, 1\]"):
        network()(torch.rand(1, 3, 8, 8), downsample_ratio=ratio)


def test_a_bad_rank_is_refused():
    with pytest.raises(ValueError, match="src must be"):
        network()(torch.rand(3, 8, 8))
