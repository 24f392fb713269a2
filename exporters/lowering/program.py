"""The network lowered for inference, written in the vocabulary of `ops.py`.

It computes the same as `rvm_model.MattingNetwork`, with these changes that save work at run time:

* Batch norm and image normalisation are folded into the convolutions (`folding.py`).
* The source is widened to four channels, so that all concatenations with it align.
* The recurrent units and the last block convolve two images separately instead of joined.
* The refiner may compute its four means in one operation.
* The foreground's "+ source" is folded into the refiner's slope.
* Choices that depend only on the variant are made here, not in the graph.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, Literal

from exporters.lowering.folding import Conv
from exporters.lowering.ops import Ops, V
from rvm_model.network import mobilenetv3, resnet50

Convs = Mapping[str, Conv]
AtRatioOne = Literal["refine", "skip", "blend"]

PLUS_SOURCE = (1.0, 1.0, 1.0, 0.0)
"""Added to the slope, so that the line gives the foreground instead of its residual."""


@dataclass(frozen=True, kw_only=True)
class LoweredMatte(Generic[V]):
    """Foreground and alpha at full size in [0, 1], and the states after this frame."""

    fgr: V
    pha: V
    states: tuple[V, V, V, V]


@dataclass(frozen=True, kw_only=True)
class LoweredLine(Generic[V]):
    """The line `A * x + b` that `rvm_model.full_size` brings to full size, and the states after this frame.

    Both have four channels at the internal size; x is RGB and its mean. The foreground's "+ source" is in A.
    """

    A: V
    b: V
    states: tuple[V, V, V, V]


def program(
    ops: Ops[V],
    convs: Convs,
    src: V,
    states: tuple[V, V, V, V],
    ratio: V | float,
    at_ratio_one: AtRatioOne,
    is_one: tuple[V, V] | None = None,
) -> LoweredMatte[V]:
    """Run one frame through the network.

    Args:
        ops: The format's vocabulary.
        convs: From `folding.lowered_convs`, or one of the functions beside it. They also determine variant and refiner.
        src: Three channels, RGB in [0, 1].
        states: r1..r4 after the frame before, or a single zero each.
        ratio: The downsample ratio: an input of the graph, or a number in (0, 1] to bake in.
        at_ratio_one: `refine` runs the refiner at any ratio, as the released ONNX files do. `skip` leaves it out of a
            graph whose baked-in ratio is 1, as PyTorch does. `blend` matches PyTorch at any ratio without a branch: it
            computes both, and `is_one` selects one.
        is_one: For `blend`, two single pixels: 1 and 0 if the ratio is 1, else 0 and 1.
    """
    baked_at_one = isinstance(ratio, float) and ratio == 1
    with ops.scope("downsample"):
        base_src = src if baked_at_one else ops.resize_by(src, ratio)
        wide_src = ops.append_ones(base_src)
    mat, hid, states = network(ops, convs, wide_src, states)
    if baked_at_one and at_ratio_one == "skip":
        with ops.scope("output"):
            residual, pha = ops.split(mat, 3, 1)
            fgr, pha = ops.clamp(ops.add(residual, src)), ops.clamp(pha)
    else:
        with ops.scope("refiner"):
            A, b = fitted_line(ops, convs, base_src, mat, hid, is_one if at_ratio_one == "blend" else None)
            fgr, pha = apply_line(ops, A, b, src)
    return LoweredMatte(fgr=fgr, pha=pha, states=states)


def line_program(ops: Ops[V], convs: Convs, src: V, states: tuple[V, V, V, V]) -> LoweredLine[V]:
    """Run one frame through the network, without its full-size steps.

    Args:
        ops: The format's vocabulary.
        convs: See `program`.
        src: Three channels at the internal size, RGB in [0, 1].
        states: See `program`.
    """
    with ops.scope("downsample"):
        wide_src = ops.append_ones(src)
    mat, hid, states = network(ops, convs, wide_src, states)
    with ops.scope("refiner"):
        A, b = fitted_line(ops, convs, src, mat, hid)
        return LoweredLine(A=ops.add_constant(A, PLUS_SOURCE), b=b, states=states)


def network(ops: Ops[V], convs: Convs, wide_src: V, states: tuple[V, V, V, V]) -> tuple[V, V, tuple[V, V, V, V]]:
    """Return residual and alpha joined, the hidden image, and the new states, for a widened source at internal size."""
    encoder = mobilenetv3_encoder if "backbone.features.0.0" in convs else resnet50_encoder
    f1, f2, f3, f4 = encoder(ops, convs, wide_src)
    with ops.scope("aspp"):
        f4 = lraspp(ops, convs, f4)
    hid, states = decoder(ops, convs, wide_src, (f1, f2, f3, f4), states)
    with ops.scope("project_mat"):
        return ops.conv(hid, convs["project_mat.conv"]), hid, states


def mobilenetv3_encoder(ops: Ops[V], convs: Convs, src: V) -> tuple[V, V, V, V]:
    """Return features at 1/2, 1/4, 1/8 and 1/16. Source: arXiv:1905.02244, table 1."""
    with ops.scope("backbone.features.0"):
        x = ops.hardswish(ops.conv(src, convs["backbone.features.0.0"]))
    features, channels = [], mobilenetv3.STEM
    for index, row in enumerate(mobilenetv3.BLOCKS, start=1):
        with ops.scope(f"backbone.features.{index}"):
            x = inverted_residual(ops, convs, f"backbone.features.{index}.block", x, channels, row)
        channels = row.out
        if index in mobilenetv3.TAPS:
            features.append(x)
    with ops.scope("backbone.features.16"):
        f4 = ops.hardswish(ops.conv(x, convs["backbone.features.16.0"]))
    f1, f2, f3 = features
    return f1, f2, f3, f4


def inverted_residual(ops: Ops[V], convs: Convs, name: str, x: V, channels: int, row: mobilenetv3.Block) -> V:
    """Expand, convolve depthwise, squeeze and excite, and project linearly, each if the table has it."""
    activation = ops.hardswish if row.hardswish else ops.relu
    layer = iter(range(4))
    out = x
    if row.expand != channels:
        out = activation(ops.conv(out, convs[f"{name}.{next(layer)}.0"]))
    out = activation(ops.conv(out, convs[f"{name}.{next(layer)}.0"]))
    if row.squeeze:
        squeeze_excite = f"{name}.{next(layer)}"
        gate = ops.relu(ops.conv(ops.global_mean(out), convs[f"{squeeze_excite}.fc1"]))
        out = ops.mul(out, ops.hardsigmoid(ops.conv(gate, convs[f"{squeeze_excite}.fc2"])))
    out = ops.conv(out, convs[f"{name}.{next(layer)}.0"])
    return ops.add(x, out) if row.stride == 1 and channels == row.out else out


def resnet50_encoder(ops: Ops[V], convs: Convs, src: V) -> tuple[V, V, V, V]:
    """Return features at 1/2, 1/4, 1/8 and 1/16. Source: arXiv:1512.03385, table 1."""
    with ops.scope("backbone.conv1"):
        x = f1 = ops.relu(ops.conv(src, convs["backbone.conv1"]))
    with ops.scope("backbone.maxpool"):
        x = ops.max_pool(x)
    features = []
    for layer, blocks in resnet50.BLOCKS.items():
        for index in range(blocks):
            name = f"backbone.{layer}.{index}"
            with ops.scope(name):
                x = bottleneck(ops, convs, name, x)
        features.append(x)
    f2, f3, _, f4 = features
    return f1, f2, f3, f4


def bottleneck(ops: Ops[V], convs: Convs, name: str, x: V) -> V:
    """Apply three convolutions and add a shortcut, which is a convolution if the size or the channels change."""
    shortcut = ops.conv(x, convs[f"{name}.downsample.0"]) if f"{name}.downsample.0" in convs else x
    x = ops.relu(ops.conv(x, convs[f"{name}.conv1"]))
    x = ops.relu(ops.conv(x, convs[f"{name}.conv2"]))
    return ops.relu(ops.add(ops.conv(x, convs[f"{name}.conv3"]), shortcut))


def lraspp(ops: Ops[V], convs: Convs, x: V) -> V:
    """Narrow the last features and gate them by their global mean."""
    narrow = ops.relu(ops.conv(x, convs["aspp.aspp1.0"]))
    return ops.mul(narrow, ops.sigmoid(ops.conv(ops.global_mean(x), convs["aspp.aspp2.1"])))


def decoder(
    ops: Ops[V], convs: Convs, s0: V, features: tuple[V, V, V, V], states: tuple[V, V, V, V]
) -> tuple[V, tuple[V, V, V, V]]:
    """Return the hidden image of 16 channels at the internal size, and the new states. `s0` is the widened source."""
    f1, f2, f3, f4 = features
    r1, r2, r3, r4 = states
    with ops.scope("decoder.avgpool"):
        s1 = ops.average_pool_ceil(s0)
        s2 = ops.average_pool_ceil(s1)
        s3 = ops.average_pool_ceil(s2)
    x, r4 = recurrent_half(ops, convs, "decoder.decode4", f4, r4)
    x, r3 = upsampling_block(ops, convs, "decoder.decode3", x, f3, s3, r3)
    x, r2 = upsampling_block(ops, convs, "decoder.decode2", x, f2, s2, r2)
    x, r1 = upsampling_block(ops, convs, "decoder.decode1", x, f1, s1, r1)
    with ops.scope("decoder.decode0"):
        x = ops.conv(ops.upsample2_crop(x, s0), convs["decoder.decode0.conv.0.x"])
        x = ops.relu(ops.add(x, ops.conv(s0, convs["decoder.decode0.conv.0.src"])))
        x = ops.relu(ops.conv(x, convs["decoder.decode0.conv.3"]))
    return x, (r1, r2, r3, r4)


def upsampling_block(ops: Ops[V], convs: Convs, name: str, x: V, f: V, s: V, state: V) -> tuple[V, V]:
    """Go one scale up: join with the encoder's feature and the pooled source, convolve, apply the GRU."""
    with ops.scope(name):
        x = ops.concat(ops.upsample2_crop(x, s), f, s)
        x = ops.relu(ops.conv(x, convs[f"{name}.conv.0"]))
    return recurrent_half(ops, convs, name, x, state)


def recurrent_half(ops: Ops[V], convs: Convs, name: str, x: V, state: V) -> tuple[V, V]:
    """Apply the GRU to the second half of the channels. Return both halves joined, and the new state."""
    half = convs[f"{name}.gru.hh.0.x"].weight.shape[0]
    with ops.scope(f"{name}.gru"):
        a, b = ops.split(x, half, half)
        state = conv_gru(ops, convs, f"{name}.gru", b, ops.state_like(state, b))
        return ops.concat(a, state), state


def conv_gru(ops: Ops[V], convs: Convs, name: str, x: V, h: V) -> V:
    """Run one ConvGRU step. Return the new state, which is also the output.

    `ih` and `hh` each see two images joined.
    """

    def gate(conv: str, y: V) -> V:
        return ops.add(ops.conv(x, convs[f"{name}.{conv}.x"]), ops.conv(y, convs[f"{name}.{conv}.h"]))

    channels = len(convs[f"{name}.hh.0.x"].weight)
    r, z = ops.split(ops.sigmoid(gate("ih.0", h)), channels, channels)
    c = ops.tanh(gate("hh.0", ops.mul(r, h)))
    return ops.add(h, ops.mul(z, ops.sub(c, h)))


def fitted_line(ops: Ops[V], convs: Convs, src: V, y: V, hid: V, is_one: tuple[V, V] | None = None) -> tuple[V, V]:
    """Fit residual and alpha as a line A * x + b, four channels each, at the internal size.

    If `is_one` is set and the ratio is 1, the line is 0 * x + y: the result without a refiner.
    """
    x = ops.concat(src, ops.channel_mean(src))
    mean_x, mean_y, mean_xy, mean_xx = box_means(ops, convs, x, y, ops.mul(x, y), ops.mul(x, x))
    cov = ops.sub(mean_xy, ops.mul(mean_x, mean_y))
    var = ops.sub(mean_xx, ops.mul(mean_x, mean_x))
    if "refiner.conv.3" in convs:
        A = ops.relu(refiner_input(ops, convs, cov, var, hid))
        A = ops.conv(ops.relu(ops.conv(A, convs["refiner.conv.3"])), convs["refiner.conv.6"])
    else:
        A = ops.div(cov, ops.add_constant(var, (1e-5,) * 4))
    b = ops.sub(mean_y, ops.mul(A, mean_x))
    if is_one is not None:
        one, other = is_one
        A, b = ops.mul(A, other), ops.add(ops.mul(b, other), ops.mul(y, one))
    return A, b


def apply_line(ops: Ops[V], A: V, b: V, fine_src: V) -> tuple[V, V]:
    """Return foreground (source added) and alpha at full size, in [0, 1].

    A * x + b + (source, 0) = (A + (1, 1, 1, 0)) * x + b, because x is the source and its mean: the sum costs nothing at
    full size. Nothing is joined or split at full size either: foreground and alpha are separated before.
    """
    A_fgr, A_pha = ops.split(ops.add_constant(A, PLUS_SOURCE), 3, 1)
    b_fgr, b_pha = ops.split(b, 3, 1)

    # onnxruntime computes first what is written last: it frees the slope before it resizes the offset to full size, and
    # finishes the foreground, which takes most memory, before it starts the alpha.
    def line(A: V, x: V, b: V, strip: V) -> V:
        offset = ops.resize_like(b, strip)
        return ops.clamp(ops.add(ops.mul(ops.resize_like(A, strip), x), offset))

    pha = line(A_pha, ops.channel_mean(fine_src), b_pha, fine_src)
    fgr = ops.stack(*(line(A_fgr, strip, b_fgr, strip) for strip in ops.strips(fine_src)))
    return fgr, pha


def refiner_input(ops: Ops[V], convs: Convs, cov: V, var: V, hid: V) -> V:
    """Apply the refiner's first convolution to the statistics and the hidden image, joined or separately."""
    if "refiner.conv.0" in convs:
        return ops.conv(ops.concat(cov, var, hid), convs["refiner.conv.0"])
    statistics = ops.conv(ops.concat(cov, var), convs["refiner.conv.0.statistics"])
    return ops.add(statistics, ops.conv(hid, convs["refiner.conv.0.hid"]))


def box_means(ops: Ops[V], convs: Convs, *images: V) -> tuple[V, ...]:
    """Apply the refiner's 3x3 filter to four images of four channels: joined, or one by one if it has four groups."""
    first = convs["refiner.box_filter" if "refiner.box_filter" in convs else "refiner.box_rows"]
    if first.groups == 4:
        return tuple(box_mean(ops, convs, image) for image in images)
    return ops.split(box_mean(ops, convs, ops.concat(*images)), 4, 4, 4, 4)


def box_mean(ops: Ops[V], convs: Convs, x: V) -> V:
    """Apply one trained convolution, or the mean of rows and then of columns."""
    if "refiner.box_filter" in convs:
        return ops.conv(x, convs["refiner.box_filter"])
    return ops.conv(ops.conv(x, convs["refiner.box_rows"]), convs["refiner.box_columns"])
