"""The wrong forward passes, as edits of our code.

An edit of `rvm_model` changes TorchScript, one of `program.py` every graph, one of a vocabulary its own format.
"""

from dataclasses import replace

from parity_tests.mutants.mutant import GRAPHS, SEEDED, TRAINED, Mutant
from parity_tests.mutants.rewritten import Edit, Rewritten

NETWORK = "rvm_model/network/matting_network.py"
DECODER = "rvm_model/network/decoder.py"
REFINER = "rvm_model/network/refiner.py"
LRASPP = "rvm_model/network/lraspp.py"
ENCODER = "rvm_model/network/mobilenetv3.py"
WEIGHTS = "exporters/lowering/folding.py"
PROGRAM = "exporters/lowering/program.py"
ONNX = "exporters/onnx/graph/ops.py"
TENSORFLOW = "exporters/tensorflow/ops.py"
SAVED_MODEL = "exporters/tensorflow/saved_model.py"

AT_ONE = replace(TRAINED, width=123, height=85, ratio=1.0)


def rewritten(*edits: tuple[str, str, str] | tuple[str, str, str, int]) -> Rewritten:
    """Return the defect of these edits: file, old words, new words and, if not once, how often the old ones occur."""
    return Rewritten(tuple(Edit(*edit) for edit in edits))


RECURRENCE = (
    Mutant(
        name="gates_swapped",
        why="The GRU's reset gate is its update gate, and the other way round.",
        defect=rewritten(
            (DECODER, "r, z = self.ih(", "z, r = self.ih("),
            (PROGRAM, "r, z = ops.split(", "z, r = ops.split("),
        ),
    ),
    Mutant(
        name="no_reset_gate",
        why="The GRU's candidate sees all of the state.",
        defect=rewritten(
            (DECODER, "torch.cat([x, r * h], dim=1)", "torch.cat([x, h], dim=1)"),
            (PROGRAM, 'gate("hh.0", ops.mul(r, h))', 'gate("hh.0", h)'),
        ),
    ),
    Mutant(
        name="update_inverted",
        why="The GRU keeps what it should replace: z * h + (1 - z) * c.",
        defect=rewritten(
            (DECODER, "(1 - z) * h + z * c", "z * h + (1 - z) * c"),
            (PROGRAM, "ops.add(h, ops.mul(z, ops.sub(c, h)))", "ops.add(c, ops.mul(z, ops.sub(h, c)))"),
        ),
    ),
    Mutant(
        name="candidate_sigmoid",
        why="The GRU's candidate is a sigmoid, not a tanh.",
        defect=rewritten((DECODER, "nn.Tanh()", "nn.Sigmoid()"), (PROGRAM, "ops.tanh(", "ops.sigmoid(")),
        formats=("onnx",),
    ),
    Mutant(
        name="candidate_hardtanh",
        why="The GRU's candidate is cut off at 1, not bent.",
        defect=rewritten((DECODER, "nn.Tanh()", "nn.Hardtanh()")),
        formats=("torchscript",),
    ),
    Mutant(
        name="gates_hard",
        why="The GRU's gates are hard sigmoids.",
        defect=rewritten(
            (DECODER, "2 * channels, 3, padding=1), nn.Sigmoid()", "2 * channels, 3, padding=1), nn.Hardsigmoid()"),
            (PROGRAM, 'ops.sigmoid(gate("ih.0", h))', 'ops.hardsigmoid(gate("ih.0", h))'),
        ),
    ),
    Mutant(
        name="halves_swapped",
        why="The GRU sees the first half of the channels, not the second.",
        defect=rewritten(
            (DECODER, "a, b = x.chunk(2, dim=1)", "b, a = x.chunk(2, dim=1)", 2),
            (PROGRAM, "a, b = ops.split(x, half, half)", "b, a = ops.split(x, half, half)"),
        ),
    ),
    Mutant(
        name="halves_joined_wrongly",
        why="The GRU's half is put before the other.",
        defect=rewritten(
            (DECODER, "torch.cat([a, b], dim=1), r", "torch.cat([b, a], dim=1), r", 2),
            (PROGRAM, "ops.concat(a, state), state", "ops.concat(state, a), state"),
        ),
        formats=("onnx",),
    ),
    Mutant(
        name="state_damped",
        why="r3 is damped by one part in five hundred as it leaves the decoder.",
        defect=rewritten(
            (
                DECODER,
                "x3, r3 = self.decode3(x4, f3, s3, r3, time)",
                "x3, r3 = self.decode3(x4, f3, s3, r3, time)\n        r3 = r3 * 0.998",
            ),
            (
                PROGRAM,
                "return x, (r1, r2, r3, r4)",
                "return x, (r1, r2, ops.mul(r3, ops.sigmoid(ops.add_constant(ops.sub(r3, r3), (6.2126,) * 40))), r4)",
            ),
        ),
        formats=("onnx",),
    ),
)

DECODING = (
    Mutant(
        name="source_channel_missing",
        why="The pooled source that decode2 sees has no blue.",
        defect=rewritten(
            (
                DECODER,
                "self.decode2(x3, f2, s2, r2, time)",
                "self.decode2(x3, f2, torch.cat([s2[:, :2], torch.zeros_like(s2[:, :1])], dim=1), r2, time)",
            ),
            (
                PROGRAM,
                '    x, r2 = upsampling_block(ops, convs, "decoder.decode2", x, f2, s2, r2)',
                "    red, green, blue, ones = ops.split(s2, 1, 1, 1, 1)\n"
                "    no_blue = ops.concat(red, green, ops.sub(blue, blue), ones)\n"
                '    x, r2 = upsampling_block(ops, convs, "decoder.decode2", x, f2, no_blue, r2)',
            ),
        ),
        formats=("onnx",),
    ),
    Mutant(
        name="concat_order",
        why="The encoder's feature is joined before the decoder's image.",
        defect=rewritten(
            (
                DECODER,
                "torch.cat([upsample2_crop(x, s), f, s], dim=1)",
                "torch.cat([f, upsample2_crop(x, s), s], dim=1)",
            ),
            (PROGRAM, "ops.concat(ops.upsample2_crop(x, s), f, s)", "ops.concat(f, ops.upsample2_crop(x, s), s)"),
        ),
        formats=("onnx",),
    ),
    Mutant(
        name="upsample_aligned",
        why="The decoder's resize aligns corners.",
        defect=rewritten(
            (
                DECODER,
                'scale_factor=2.0, mode="bilinear", align_corners=False',
                'scale_factor=2.0, mode="bilinear", align_corners=True',
            ),
            (
                ONNX,
                'coordinate_transformation_mode="half_pixel"',
                'coordinate_transformation_mode="align_corners" if scales == "scale_2" else "half_pixel"',
            ),
            (
                TENSORFLOW,
                "_resize(x, 2 * height, 2 * width)",
                "tf.compat.v1.image.resize_bilinear(x, [2 * height, 2 * width], align_corners=True)",
            ),
        ),
    ),
    Mutant(
        name="upsample_nearest",
        why="The decoder's resize takes the nearest pixel.",
        defect=rewritten(
            (
                DECODER,
                'scale_factor=2.0, mode="bilinear", align_corners=False, recompute_scale_factor=False',
                'scale_factor=2.0, mode="nearest"',
            ),
            (ONNX, 'mode="linear"', 'mode="nearest" if scales == "scale_2" else "linear"'),
        ),
    ),
    Mutant(
        name="upsample_asymmetric",
        why="The decoder's resize looks from the pixels' corners, not from their centres.",
        defect=rewritten(
            (
                ONNX,
                'coordinate_transformation_mode="half_pixel"',
                'coordinate_transformation_mode="asymmetric" if scales == "scale_2" else "half_pixel"',
            ),
            (
                TENSORFLOW,
                "_resize(x, 2 * height, 2 * width)",
                "tf.compat.v1.image.resize_bilinear(x, [2 * height, 2 * width])",
            ),
        ),
        formats=("onnx",),
    ),
    Mutant(
        name="upsample_stretched",
        why="The decoder resizes to the wanted size, where it should double and crop.",
        defect=rewritten(
            (
                DECODER,
                'scale_factor=2.0, mode="bilinear", align_corners=False, recompute_scale_factor=False',
                'size=ref.shape[2:], mode="bilinear", align_corners=False',
            ),
            (PROGRAM, "ops.upsample2_crop(", "ops.resize_like(", 2),
        ),
        formats=GRAPHS,
    ),
    Mutant(
        name="crop_off_by_one",
        why="Where a row or column is too many, the first is left out, not the last.",
        defect=rewritten(
            (
                DECODER,
                "x[:, :, : ref.shape[2], : ref.shape[3]]",
                "x[:, :, x.shape[2] - ref.shape[2] :, x.shape[3] - ref.shape[3] :]",
            ),
            (
                ONNX,
                'return self._node("Slice", twice, starts, self._shape(ref, 2, 4), axes)',
                "whole = self._shape(twice, 2, 4)\n"
                '        starts = self._node("Sub", whole, self._shape(ref, 2, 4))\n'
                '        return self._node("Slice", twice, starts, whole, axes)',
            ),
            (TENSORFLOW, "twice[:, :height, :width]", "twice[:, -height:, -width:]"),
        ),
        formats=GRAPHS,
    ),
    Mutant(
        name="pool_counts_padding",
        why="The pool divides by four at an odd edge too.",
        defect=rewritten(
            (
                DECODER,
                "s1 = self.avgpool(s0)",
                "s1 = F.avg_pool2d(F.pad(s0, (0, s0.shape[3] % 2, 0, s0.shape[2] % 2)), 2)",
            ),
            (ONNX, "if not self.spec.ceil_free:", "if False:"),
            (ONNX, "return self.div(pooled, ones)", "return pooled"),
            (
                TENSORFLOW,
                'return tf.nn.avg_pool2d(x, 2, 2, "SAME")',
                'return tf.nn.avg_pool2d(tf.pad(x, [[0, 0], [0, 1], [0, 1], [0, 0]]), 2, 2, "VALID")',
            ),
        ),
        formats=GRAPHS,
    ),
    Mutant(
        name="pool_floor",
        why="The first pool rounds its size down, and is stretched to what it should be.",
        defect=rewritten(
            (
                DECODER,
                "s1 = self.avgpool(s0)",
                's1 = F.interpolate(F.avg_pool2d(s0, 2), f1.shape[2:], mode="bilinear")',
            ),
            (ONNX, "ceil_mode=1", 'ceil_mode=int("avgpool" in x)'),
            (PROGRAM, "s1 = ops.average_pool_ceil(s0)", "s1 = ops.resize_like(ops.average_pool_ceil(s0), f1)"),
        ),
    ),
    Mutant(
        name="pool_maximum",
        why="The pool takes the largest of four, not their mean.",
        defect=rewritten(
            (
                DECODER,
                "nn.AvgPool2d(2, 2, count_include_pad=False, ceil_mode=True)",
                "nn.MaxPool2d(2, 2, ceil_mode=True)",
            ),
            (
                ONNX,
                '"AveragePool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, count_include_pad=0',
                '"MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1',
            ),
        ),
        formats=("onnx",),
    ),
    Mutant(
        name="decoder_epsilon",
        why="The decoder's batch norm has the encoder's epsilon.",
        defect=rewritten((DECODER, "nn.BatchNorm2d(out)", "nn.BatchNorm2d(out, eps=1e-3)", 3)),
        formats=("torchscript",),
        play=SEEDED,
    ),
)

RESIZING = (
    Mutant(
        name="resize_aligned",
        why="The first resize aligns corners.",
        defect=rewritten(
            (NETWORK, "align_corners=False", "align_corners=True"),
            (
                ONNX,
                'coordinate_transformation_mode="half_pixel"',
                'coordinate_transformation_mode="align_corners" if scales not in ("", "scale_2") else "half_pixel"',
            ),
            (
                TENSORFLOW,
                "position = tf.maximum(centres * step - 0.5, 0.0)",
                "position = (centres - 0.5) * tf.cast(size - 1, tf.float32) / tf.cast(to_size - 1, tf.float32)",
            ),
        ),
    ),
    Mutant(
        name="resize_nearest",
        why="The first resize takes the nearest pixel.",
        defect=rewritten(
            (
                NETWORK,
                '                mode="bilinear",\n                align_corners=False,\n',
                '                mode="nearest",\n',
            ),
            (ONNX, 'mode="linear"', 'mode="nearest" if scales not in ("", "scale_2") else "linear"'),
        ),
        formats=("onnx",),
    ),
    Mutant(
        name="resize_smoothed",
        why="The first resize smooths before it samples, as image libraries do.",
        defect=rewritten(
            (NETWORK, "align_corners=False,\n", "align_corners=False,\n                antialias=True,\n")
        ),
        formats=("torchscript",),
    ),
    Mutant(
        name="resize_by_sizes",
        why="The first resize goes by the quotient of the sizes, not by the ratio.",
        defect=rewritten(
            (NETWORK, "recompute_scale_factor=False", "recompute_scale_factor=True"),
            (
                ONNX,
                "return self._resize(x, scales)",
                'return self._resize(x, "", self._shape(self._resize(x, scales), 0, 4))',
            ),
            (
                TENSORFLOW,
                "centres * step - 0.5",
                "centres * (tf.cast(size, tf.float32) / tf.cast(to_size, tf.float32)) - 0.5",
            ),
        ),
        formats=GRAPHS,
    ),
    Mutant(
        name="resize_quarter_pixel",
        why="The first resize looks a quarter of a pixel beside the centre.",
        defect=rewritten(
            (
                NETWORK,
                "base_src = F.interpolate(\n                fine_src,",
                "base_src = F.interpolate(\n                0.75 * fine_src + 0.25 * fine_src.roll(-1, 3),",
            ),
            (TENSORFLOW, "centres * step - 0.5", "centres * step - 0.25"),
        ),
        formats=("torchscript", "tensorflow"),
    ),
)

ENCODING = (
    Mutant(
        name="encoder_epsilon",
        why="The encoder's batch norm has PyTorch's epsilon, 1e-5, not MobileNetV3's.",
        defect=rewritten((ENCODER, "eps=1e-3", "eps=1e-5")),
        formats=GRAPHS,
    ),
    Mutant(
        name="seeded_encoder_epsilon",
        why="The encoder's batch norm has epsilon 1e-5, where batch norm is not the identity.",
        defect=rewritten((ENCODER, "eps=1e-3", "eps=1e-5")),
        play=SEEDED,
    ),
    Mutant(
        name="relu_for_hardswish",
        why="All blocks of the encoder have ReLU.",
        defect=rewritten(
            (ENCODER, "nn.Hardswish if row.hardswish else nn.ReLU", "nn.ReLU"),
            (PROGRAM, "ops.hardswish if row.hardswish else ops.relu", "ops.relu"),
        ),
        formats=("torchscript",),
    ),
    Mutant(
        name="hardswish_for_relu",
        why="All blocks of the encoder have hard swish.",
        defect=rewritten(
            (ENCODER, "nn.Hardswish if row.hardswish else nn.ReLU", "nn.Hardswish"),
            (PROGRAM, "ops.hardswish if row.hardswish else ops.relu", "ops.hardswish"),
        ),
        formats=("onnx",),
    ),
    Mutant(
        name="last_relu",
        why="The encoder's last convolution has ReLU, not hard swish.",
        defect=rewritten(
            (ENCODER, "channels, LAST, 1, nn.Hardswish()", "channels, LAST, 1, nn.ReLU()"),
            (PROGRAM, "f4 = ops.hardswish(", "f4 = ops.relu("),
        ),
    ),
    Mutant(
        name="stem_swish",
        why="The first convolution has swish, not hard swish.",
        defect=rewritten(
            (ENCODER, "STEM, 3, nn.Hardswish()", "STEM, 3, nn.SiLU()"),
            (
                PROGRAM,
                'x = ops.hardswish(ops.conv(src, convs["backbone.features.0.0"]))',
                'x = ops.conv(src, convs["backbone.features.0.0"])\n        x = ops.mul(x, ops.sigmoid(x))',
            ),
        ),
        formats=("onnx",),
    ),
    Mutant(
        name="hardsigmoid_fifth",
        why="The hard sigmoid has a slope of 1/5, as in Keras.",
        defect=rewritten(
            (
                ENCODER,
                "self.gate(self.fc2(torch.relu(self.fc1(mean))))",
                "(0.2 * self.fc2(torch.relu(self.fc1(mean))) + 0.5).clamp(0, 1)",
            ),
            (ONNX, "alpha=1 / 6", "alpha=0.2"),
            (TENSORFLOW, "x * (1 / 6) + 0.5", "x * 0.2 + 0.5"),
        ),
    ),
    Mutant(
        name="sixth_rounded",
        why="A sixth is written as 0.1667.",
        defect=rewritten(
            (
                ENCODER,
                "self.gate(self.fc2(torch.relu(self.fc1(mean))))",
                "(0.1667 * self.fc2(torch.relu(self.fc1(mean))) + 0.5).clamp(0, 1)",
            ),
            (ONNX, "alpha=1 / 6", "alpha=0.1667"),
            (TENSORFLOW, "x * (1 / 6) + 0.5", "x * 0.1667 + 0.5"),
        ),
        formats=GRAPHS,
    ),
    Mutant(
        name="squeeze_sigmoid",
        why="The gate of squeeze-excite is a sigmoid.",
        defect=rewritten(
            (ENCODER, "self.gate = nn.Hardsigmoid()", "self.gate = nn.Sigmoid()"),
            (PROGRAM, "ops.hardsigmoid(ops.conv(gate,", "ops.sigmoid(ops.conv(gate,"),
        ),
        formats=("onnx",),
    ),
    Mutant(
        name="squeeze_without_relu",
        why="Squeeze-excite has no ReLU.",
        defect=rewritten(
            (ENCODER, "torch.relu(self.fc1(mean))", "self.fc1(mean)"),
            (
                PROGRAM,
                'gate = ops.relu(ops.conv(ops.global_mean(out), convs[f"{squeeze_excite}.fc1"]))',
                'gate = ops.conv(ops.global_mean(out), convs[f"{squeeze_excite}.fc1"])',
            ),
        ),
        formats=("onnx",),
    ),
    Mutant(
        name="squeeze_maximum",
        why="Squeeze-excite looks at each channel's maximum.",
        defect=rewritten((ENCODER, "x.mean((2, 3), keepdim=True)", "x.amax((2, 3), keepdim=True)")),
        formats=("torchscript",),
    ),
    Mutant(
        name="shortcut_missing",
        why="One block adds nothing to what came in.",
        defect=rewritten(
            (ENCODER, "row.stride == 1 and channels == row.out", "row.stride == 1 and channels == row.out != 112"),
            (PROGRAM, "row.stride == 1 and channels == row.out", "row.stride == 1 and channels == row.out != 112"),
        ),
    ),
    Mutant(
        name="dilation_missing",
        why="One of the last blocks is not dilated.",
        defect=rewritten((ENCODER, "Block(5, 672, 160, 168, True, 1, 2)", "Block(5, 672, 160, 168, True, 1, 1)")),
        formats=("onnx",),
    ),
    Mutant(
        name="mean_bgr",
        why="The image's mean and deviation are in the order of BGR.",
        defect=rewritten(
            (ENCODER, "(0.485, 0.456, 0.406)", "(0.406, 0.456, 0.485)"),
            (ENCODER, "(0.229, 0.224, 0.225)", "(0.225, 0.224, 0.229)"),
        ),
        formats=("onnx",),
    ),
    Mutant(
        name="mean_rounded",
        why="The image's mean has two digits.",
        defect=rewritten((ENCODER, "(0.485, 0.456, 0.406)", "(0.48, 0.46, 0.41)")),
        formats=("onnx",),
    ),
    Mutant(
        name="normalised_by_bias",
        why="The image's mean is folded into a bias, so that the border is padded with black, not with the mean.",
        defect=rewritten(
            (
                WEIGHTS,
                "return replace(conv, weight=np.concatenate([scaled, offset], axis=1))",
                "assert conv.bias is not None\n"
                "    weight = np.concatenate([scaled, 0 * offset], axis=1)\n"
                "    return replace(conv, weight=weight, bias=conv.bias + offset.sum(axis=(1, 2, 3)))",
            )
        ),
        formats=("onnx", "tensorflow"),
    ),
    Mutant(
        name="same_padding",
        why="Convolutions with a stride pad as TensorFlow does: less before than after.",
        defect=rewritten(
            (
                ONNX,
                "pads=conv.padding * 2,",
                '**({"auto_pad": "SAME_UPPER"} if conv.stride > 1 else {"pads": conv.padding * 2}),',
            ),
            (
                TENSORFLOW,
                "if conv.stride > 1 or kernel.shape[0] != kernel.shape[1]:",
                "if kernel.shape[0] != kernel.shape[1]:",
            ),
        ),
        formats=("onnx", "tensorflow"),
    ),
    Mutant(
        name="aspp_hard",
        why="LR-ASPP's sigmoid is a hard one.",
        defect=rewritten(
            (LRASPP, "nn.Sigmoid()", "nn.Hardsigmoid()"),
            (PROGRAM, "ops.mul(narrow, ops.sigmoid(", "ops.mul(narrow, ops.hardsigmoid("),
        ),
        formats=("onnx",),
    ),
    Mutant(
        name="aspp_open",
        why="LR-ASPP has no sigmoid.",
        defect=rewritten(
            (LRASPP, "nn.Sigmoid()", "nn.Identity()"),
            (PROGRAM, "ops.mul(narrow, ops.sigmoid(", "ops.mul(narrow, ("),
        ),
        formats=("onnx",),
    ),
    Mutant(
        name="aspp_maximum",
        why="LR-ASPP looks at each channel's maximum.",
        defect=rewritten(
            (LRASPP, "nn.AdaptiveAvgPool2d(1)", "nn.AdaptiveMaxPool2d(1)"),
            (
                ONNX,
                'self._node("GlobalAveragePool", x)',
                'self._node("GlobalMaxPool" if self._scope == "aspp" else "GlobalAveragePool", x)',
            ),
        ),
    ),
)

REFINING = (
    Mutant(
        name="source_not_added",
        why="The foreground is a residual: the source is not added.",
        defect=rewritten(
            (NETWORK, "(residual + fine_src).clamp(0, 1)", "residual.clamp(0, 1)"),
            (PROGRAM, "(1.0, 1.0, 1.0, 0.0)", "(0.0, 0.0, 0.0, 0.0)"),
        ),
        formats=("onnx",),
    ),
    Mutant(
        name="foreground_not_clamped",
        why="The foreground leaves [0, 1].",
        defect=rewritten(
            (NETWORK, "(residual + fine_src).clamp(0, 1)", "residual + fine_src"),
            (
                PROGRAM,
                "fgr = ops.stack(*(line(A_fgr, strip, b_fgr, strip) for strip in ops.strips(fine_src)))",
                "fgr = ops.add(ops.mul(ops.resize_like(A_fgr, fine_src), fine_src), ops.resize_like(b_fgr, fine_src))",
            ),
        ),
        formats=("onnx",),
    ),
    Mutant(
        name="alpha_not_clamped",
        why="Alpha leaves [0, 1].",
        defect=rewritten(
            (NETWORK, "pha.clamp(0, 1)", "pha"),
            (
                PROGRAM,
                "pha = line(A_pha, ops.channel_mean(fine_src), b_pha, fine_src)",
                "pha = ops.mul(ops.resize_like(A_pha, fine_src), ops.channel_mean(fine_src))\n"
                "    pha = ops.add(pha, ops.resize_like(b_pha, fine_src))",
            ),
        ),
    ),
    Mutant(
        name="foreground_premultiplied",
        why="The foreground is multiplied with alpha.",
        defect=rewritten(
            (NETWORK, "(residual + fine_src).clamp(0, 1)", "(residual + fine_src).clamp(0, 1) * pha.clamp(0, 1)"),
            (PROGRAM, "    return fgr, pha\n", "    return ops.mul(fgr, pha), pha\n"),
        ),
        formats=("onnx",),
    ),
    Mutant(
        name="alpha_squared",
        why="Alpha is squared.",
        defect=rewritten(
            (NETWORK, "pha.clamp(0, 1)", "pha.clamp(0, 1) ** 2"),
            (PROGRAM, "    return fgr, pha\n", "    return fgr, ops.mul(pha, pha)\n"),
        ),
        formats=("torchscript",),
    ),
    Mutant(
        name="refiner_aligned",
        why="The refiner's slope is brought to full size with aligned corners.",
        defect=rewritten(
            (
                REFINER,
                'A = F.interpolate(A, size, mode="bilinear", align_corners=False)',
                'A = F.interpolate(A, size, mode="bilinear", align_corners=True)',
            ),
            (
                ONNX,
                'coordinate_transformation_mode="half_pixel"',
                'coordinate_transformation_mode="half_pixel" if scales else "align_corners"',
            ),
            (
                TENSORFLOW,
                "return _resize(x, *_size(ref))",
                "return tf.compat.v1.image.resize_bilinear(x, _size(ref), align_corners=True)",
            ),
        ),
        formats=("onnx",),
    ),
    Mutant(
        name="refiner_nearest",
        why="The refiner's line is brought to full size by the nearest pixel.",
        defect=rewritten(
            (
                REFINER,
                'b = F.interpolate(b, size, mode="bilinear", align_corners=False)',
                'b = F.interpolate(b, size, mode="nearest")',
            ),
            (ONNX, 'mode="linear"', 'mode="linear" if scales else "nearest"'),
        ),
    ),
    Mutant(
        name="mean_of_two",
        why="The refiner's gray is the mean of red and green.",
        defect=rewritten(
            (REFINER, "src.mean(1, keepdim=True)", "src[:, :2].mean(1, keepdim=True)"),
            (ONNX, "np.full((1, 3), 1 / 3, self.dtype)", "np.array([[0.5, 0.5, 0]], self.dtype)"),
            (
                TENSORFLOW,
                "tf.reduce_mean(x, axis=-1, keepdims=True)",
                "tf.reduce_mean(x[..., :2], axis=-1, keepdims=True)",
            ),
        ),
        formats=("onnx",),
    ),
    Mutant(
        name="third_rounded",
        why="A third is written as 0.3333.",
        defect=rewritten(
            (REFINER, "src.mean(1, keepdim=True)", "0.3333 * src.sum(1, keepdim=True)"),
            (ONNX, "np.full((1, 3), 1 / 3, self.dtype)", "np.full((1, 3), 0.3333, self.dtype)"),
            (
                TENSORFLOW,
                "tf.reduce_mean(x, axis=-1, keepdims=True)",
                "0.3333 * tf.reduce_sum(x, axis=-1, keepdims=True)",
            ),
        ),
        formats=GRAPHS,
    ),
    Mutant(
        name="statistics_swapped",
        why="The refiner takes the variance for the covariance.",
        defect=rewritten(
            (REFINER, "torch.cat([cov, var, base_hid], dim=1)", "torch.cat([var, cov, base_hid], dim=1)"),
            (PROGRAM, "ops.concat(cov, var)", "ops.concat(var, cov)"),
        ),
        formats=("onnx",),
    ),
    Mutant(
        name="variance_not_centred",
        why="The refiner's variance is the mean square.",
        defect=rewritten(
            (REFINER, "var = self.box_filter(x * x) - mean_x * mean_x", "var = self.box_filter(x * x)"),
            (PROGRAM, "var = ops.sub(mean_xx, ops.mul(mean_x, mean_x))", "var = mean_xx"),
        ),
        formats=("onnx",),
    ),
    Mutant(
        name="offset_by_pixel",
        why="The refiner's line goes through the pixel, not through its neighbourhood's mean.",
        defect=rewritten(
            (REFINER, "mean_y - A * mean_x", "mean_y - A * x", 2),
            (PROGRAM, "ops.mul(A, mean_x)", "ops.mul(A, x)"),
        ),
        formats=("torchscript",),
    ),
    Mutant(
        name="fast_epsilon",
        why="The fast guided filter divides by the variance and 1.1e-5.",
        defect=rewritten((REFINER, "var + 1e-5", "var + 1.1e-5"), (PROGRAM, "(1e-5,) * 4", "(1.1e-5,) * 4")),
        play=replace(TRAINED, refiner="fast_guided_filter"),
    ),
    Mutant(
        name="refined_at_one",
        why="The refiner runs at ratio 1 too.",
        defect=rewritten(
            (NETWORK, 'self.refine == "always" or downsample_ratio != 1', 'self.refine != "never"'),
            (SAVED_MODEL, "tf.equal(ratios[0], 1.0)", "tf.equal(ratios[0], 0.0)"),
        ),
        formats=("torchscript", "tensorflow"),
        play=AT_ONE,
    ),
)

FORWARD_PASSES = (*RECURRENCE, *DECODING, *RESIZING, *ENCODING, *REFINING)
