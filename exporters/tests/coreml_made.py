"""Write single operations and small programs with coremltools, which the tests' own process never imports.

Run it with a folder, and `short` or `all`.
"""

import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import torch

from exporters.tests.coreml_cases import CASES

TARGETS = {"ios14": "neuralnetwork", "ios15": "mlprogram", "ios16": "mlprogram", "ios18": "mlprogram"}
MODES = ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "UNALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS")
SIZES = ((7, 5), (1, 13), (30, 9))
SHORT = {
    *("conv", "conv_depthwise", "hardswish", "concat", "slice_rows", "mean_image", "avg_pool_ceil", "downsample"),
    *("affine_int8", "affine_all", "palette_4_ios16", "palette_6_ios18", "blocks_uint8", "blocks_int4_offset"),
}
"""Operations and constants that `make test` converts: one takes a second. Programs resize to SIZES[0] there."""


def written(common_folder: Callable[[str], AbstractContextManager[Path]], what: str) -> Path:
    """Return the folder of all files or of SHORT's, which one process writes for all processes of a test run."""
    with common_folder(f"coreml_{what}") as folder:
        if not (folder / "complete").exists():
            command = [sys.executable, "-m", "exporters.tests.coreml_made", folder, what]
            done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=1500)
            assert done.returncode == 0, done.stderr[-2000:]
            (folder / "complete").touch()
    return folder


def main(folder, what):
    for package in ("tensorflow", "sklearn", "xgboost", "libsvm", "transformers", "executorch", "torchao"):
        sys.modules[package] = None  # coremltools imports them, but does not need them
    import coremltools as ct

    operations(ct, folder, [name for name in CASES if what == "all" or name in SHORT])
    programs(ct, folder, SIZES if what == "all" else SIZES[:1])
    for name, target, build in constants(ct):
        if what == "all" or name in SHORT:
            expect(ct, folder, name, target, build)
    networks(ct, folder)
    programs_with_more(ct, folder)


def operations(ct, folder, names):
    for name, case in ((name, CASES[name]) for name in names):
        traced = torch.jit.trace(case, case.inputs())
        for target in ("ios14", "ios16"):
            save(ct, folder, f"{name}_{target}", traced, target, case.shapes)
    for target in ("ios15", "ios18"):
        save(
            ct,
            folder,
            f"conv_{target}",
            torch.jit.trace(CASES["conv"], CASES["conv"].inputs()),
            target,
            CASES["conv"].shapes,
        )


def save(ct, folder, name, traced, target, shapes):
    kind = TARGETS[target]
    model = ct.convert(
        traced,
        convert_to=kind,
        inputs=[ct.TensorType(f"x{k}", shape) for k, shape in enumerate(shapes)],
        outputs=[ct.TensorType("out")],
        minimum_deployment_target=getattr(ct.target, target.replace("ios", "iOS")),
        skip_model_load=True,
        **({"compute_precision": ct.precision.FLOAT32} if kind == "mlprogram" else {}),
    )
    model.save(str(folder / (name + (".mlpackage" if kind == "mlprogram" else ".mlmodel"))))


def program(ct, folder, name, target, shape, build):
    """Write a program in coremltools' own language. No pass may fold the operation under test."""
    from coremltools.converters.mil import Builder as mb  # noqa: N813

    @mb.program(input_specs=[mb.TensorSpec(shape)], opset_version=getattr(ct.target, target.replace("ios", "iOS")))
    def prog(x):
        return mb.identity(x=build(mb, x), name="out")

    ct.convert(
        prog,
        convert_to="mlprogram",
        minimum_deployment_target=getattr(ct.target, target.replace("ios", "iOS")),
        compute_precision=ct.precision.FLOAT32,
        skip_model_load=True,
        pass_pipeline=ct.PassPipeline.EMPTY,
    ).save(str(folder / f"{name}.mlpackage"))


def programs(ct, folder, sizes):
    image = (1, 3, 9, 13)
    for mode in MODES:
        for height, width in sizes:
            program(
                ct,
                folder,
                f"resize_{mode}_{height}x{width}",
                "ios15",
                image,
                lambda mb, x, mode=mode, height=height, width=width: mb.resize_bilinear(
                    x=x, target_size_height=height, target_size_width=width, sampling_mode=mode
                ),
            )
    for aligned, half in ((True, False), (False, True), (False, False)):
        program(
            ct,
            folder,
            f"upsample_{aligned}_{half}",
            "ios16",
            image,
            lambda mb, x, aligned=aligned, half=half: mb.upsample_bilinear(
                x=x, scale_factor_height=2.0, scale_factor_width=1.7, align_corners=aligned, half_pixel_centers=half
            ),
        )
    weight = np.random.default_rng(0).standard_normal((4, 3, 4, 3)).astype(np.float32)
    for name, options in {
        "same": {"pad_type": "same", "strides": [2, 2]},
        "same_lower": {"pad_type": "same_lower", "strides": [2, 2]},
        "custom": {"pad_type": "custom", "pad": [0, 1, 2, 1], "strides": [1, 2], "dilations": [2, 1]},
    }.items():
        program(
            ct,
            folder,
            f"conv_{name}",
            "ios16",
            image,
            lambda mb, x, options=options: mb.conv(x=x, weight=weight, **options),
        )
    np.save(folder / "conv_weight.npy", weight)
    program(
        ct,
        folder,
        "split_in_three",
        "ios16",
        image,
        lambda mb, x: mb.concat(values=mb.split(x=x, num_splits=3, axis=1)[::-1], axis=1),
    )
    program(
        ct,
        folder,
        "slice_masks",
        "ios16",
        image,
        lambda mb, x: mb.slice_by_index(
            x=x,
            begin=[0, 1, 2, -8],
            end=[1, 0, -1, 0],
            stride=[1, 1, 3, 2],
            begin_mask=[False, False, True, False],
            end_mask=[False, False, False, True],
            squeeze_mask=[False, True, False, False],
        ),
    )
    program(
        ct,
        folder,
        "slice_update",
        "ios18",
        image,
        lambda mb, x: mb.slice_update(
            x=x, update=np.ones((1, 3, 4, 13), np.float32), begin=[0, 0, 1, 0], end=[1, 3, 9, 13], stride=[1, 1, 2, 1]
        ),
    )
    program(
        ct,
        folder,
        "fp16",
        "ios16",
        image,
        lambda mb, x: mb.cast(
            x=mb.mul(x=mb.add(x=mb.cast(x=x, dtype="fp16"), y=np.float16(0.1)), y=np.float16(3)), dtype="fp32"
        ),
    )


def constants(ct):
    """Yield the name, the target and the function of each constant."""
    from coremltools.converters.mil.mil import types

    rng = np.random.default_rng(0)
    shape = (4, 3, 2, 2)
    integers = {
        np.int8: rng.integers(-127, 128, shape).astype(np.int8),
        np.uint8: rng.integers(0, 256, shape).astype(np.uint8),
    }
    scale, zero = rng.random(4).astype(np.float16), rng.integers(-3, 4, 4)
    for dtype in (np.int8, np.uint8):
        yield (
            f"affine_{dtype.__name__}",
            "ios16",
            lambda mb, dtype=dtype: mb.constexpr_affine_dequantize(
                quantized_data=integers[dtype], zero_point=abs(zero).astype(dtype), scale=scale, axis=0
            ),
        )
    yield (
        "affine_all",
        "ios16",
        lambda mb: mb.constexpr_affine_dequantize(
            quantized_data=integers[np.int8], zero_point=np.int8(3), scale=np.float16(0.1), axis=0
        ),
    )
    for bits in (1, 2, 4, 6, 8):
        indices = rng.integers(0, 1 << bits, 48)
        packed = np.packbits(((indices[:, None] >> np.arange(bits)) & 1).astype(np.uint8).ravel(), bitorder="little")
        yield (
            f"palette_{bits}_ios16",
            "ios16",
            lambda mb, bits=bits, packed=packed: mb.constexpr_lut_to_dense(
                indices=packed, lut=np.arange(1 << bits).astype(np.float16) / 7, shape=np.array(shape, np.uint32)
            ),
        )
        yield (
            f"palette_{bits}_ios18",
            "ios18",
            lambda mb, bits=bits, indices=indices: mb.constexpr_lut_to_dense(
                indices=indices.reshape(shape).astype(types.type_mapping.string_to_nptype(f"uint{bits}")),
                lut=(np.arange(2 << bits) / 7).astype(np.float16).reshape(2, 1, 1, 1, 1 << bits, 1),
            ),
        )
    for dtype, low, high in (("int8", -128, 128), ("uint8", 0, 256), ("int4", -8, 8), ("uint4", 0, 16)):
        kind = types.type_mapping.string_to_nptype(dtype)
        data, offset = (
            rng.integers(low, high, shape).astype(kind),
            rng.integers(max(low, -2), 3, (4, 1, 2, 1)).astype(kind),
        )
        for name, more in (("", {}), ("_offset", {"offset": offset})):
            yield (
                f"blocks_{dtype}{name}",
                "ios18",
                lambda mb, data=data, more=more: mb.constexpr_blockwise_shift_scale(
                    data=data, scale=rng.random((4, 1, 2, 1)).astype(np.float16), **more
                ),
            )


def expect(ct, folder, name, target, build):
    """Write a program that adds the constant to zeros, and the constant as coremltools itself computes it."""
    made = []

    def added(mb, x):
        constant = build(mb)
        made.append(constant.op.materialized_val_inference())
        return mb.add(x=x, y=mb.cast(x=constant, dtype="fp32"))

    program(ct, folder, name, target, (4, 3, 2, 2), added)
    np.save(folder / f"{name}.npy", made[0])


def networks(ct, folder):
    """Write layers that no traced module converts to."""
    from coremltools.models import datatypes
    from coremltools.models.neural_network import NeuralNetworkBuilder
    from coremltools.proto import FeatureTypes_pb2

    def network(name, shape, build):
        builder = NeuralNetworkBuilder(
            [("x0", datatypes.Array(*shape))], [("out", None)], disable_rank5_shape_mapping=True
        )
        build(builder)
        builder.spec.neuralNetwork.imageInputShapeMapping = 1
        for each in (*builder.spec.description.input, *builder.spec.description.output):
            each.type.multiArrayType.dataType = FeatureTypes_pb2.ArrayFeatureType.FLOAT32
        (folder / f"{name}.mlmodel").write_bytes(builder.spec.SerializeToString())

    image = (1, 3, 9, 13)
    for mode in ("STRICT_ALIGN_ENDPOINTS_MODE", "ALIGN_ENDPOINTS_MODE", "UPSAMPLE_MODE", "ROI_ALIGN_MODE"):
        for height, width in SIZES:
            network(
                f"resize_{mode}_{height}x{width}",
                image,
                lambda builder, mode=mode, height=height, width=width: builder.add_resize_bilinear(
                    "r", "x0", "out", height, width, mode
                ),
            )
    for mode in ("DEFAULT", "ALIGN_CORNERS_TRUE", "ALIGN_CORNERS_FALSE"):
        network(
            f"upsample_{mode}",
            image,
            lambda builder, mode=mode: builder.add_upsample(
                "u", 2, 3, "x0", "out", mode="BILINEAR", linear_upsample_mode=mode
            ),
        )
    network("slice_negative", image, lambda builder: builder.add_slice("s", "x0", "out", "height", 2, -1, 3))
    network("linear", image, lambda builder: builder.add_activation("a", "LINEAR", "x0", "out", [-2.0, 0.5]))
    network("add_alpha", image, lambda builder: builder.add_elementwise("a", ["x0"], "out", "ADD", 0.25))
    for kind in ("add", "subtract", "multiply", "divide"):
        network(f"{kind}_broadcastable", image, lambda builder, kind=kind: with_constant(builder, kind))
    network("add_three", image, lambda builder: builder.add_elementwise("a", ["x0", "x0", "x0"], "out", "ADD"))


def with_constant(builder, kind):
    builder.add_load_constant_nd("c", "other", np.array([1.0, 2, 4]).reshape(3, 1, 1), [3, 1, 1])
    getattr(builder, f"add_{kind}_broadcastable")("b", ["x0", "other"], "out")


class Weighted(torch.nn.Module):
    """Channels multiplied by different weights, to tell them apart."""

    def __init__(self, weights):
        super().__init__()
        self.weights = torch.tensor(weights).reshape(1, -1, 1, 1)

    def forward(self, x):
        return x * self.weights


class Remembering(torch.nn.Module):
    """The sum of half the memory and the new frame."""

    def __init__(self):
        super().__init__()
        self.register_buffer("memory", torch.zeros(1, 1, 4, 6))

    def forward(self, x):
        new = self.memory * 0.5 + x
        self.memory[:] = new
        return new * 2


def programs_with_more(ct, folder):
    """Write programs with images, states and several functions."""
    coloured = torch.jit.trace(Weighted([1.0, 2.0, 4.0]).eval(), torch.zeros(1, 3, 4, 6))
    grey = torch.jit.trace(Weighted([4.0]).eval(), torch.zeros(1, 1, 4, 6))
    for target, kind in (("ios16", "mlprogram"), ("ios14", "neuralnetwork")):
        for layout, traced, bias in (
            ("RGB", coloured, [1.0, 2.0, 3.0]),
            ("BGR", coloured, [1.0, 2.0, 3.0]),
            ("G", grey, 5.0),
        ):
            shape = (1, 1 if layout == "G" else 3, 4, 6)
            out = ct.TensorType("out") if kind == "neuralnetwork" else ct.ImageType("out", color_layout=layout)
            model = ct.convert(
                traced,
                convert_to=kind,
                inputs=[ct.ImageType("x0", shape, scale=0.5, bias=bias, color_layout=layout)],
                outputs=[out],
                minimum_deployment_target=getattr(ct.target, target.replace("ios", "iOS")),
                skip_model_load=True,
            )
            model.save(str(folder / f"image_{layout}.{'mlmodel' if kind == 'neuralnetwork' else 'mlpackage'}"))
    ct.convert(
        torch.jit.trace(Remembering().eval(), torch.zeros(1, 1, 4, 6)),
        inputs=[ct.TensorType("x0", (1, 1, 4, 6))],
        outputs=[ct.TensorType("out")],
        states=[ct.StateType(ct.TensorType(shape=(1, 1, 4, 6)), "memory")],
        minimum_deployment_target=ct.target.iOS18,
        skip_model_load=True,
    ).save(str(folder / "stateful.mlpackage"))
    several = ct.utils.MultiFunctionDescriptor()
    for name, size in (("small", (4, 6)), ("large", (8, 12))):
        weighted = torch.jit.trace(Weighted([1.0, 2.0, 4.0]).eval(), torch.zeros(1, 3, *size))
        save(ct, folder, name, weighted, "ios18", [(1, 3, *size)])
        several.add_function(str(folder / f"{name}.mlpackage"), "main", name)
    several.default_function_name = "large"
    ct.utils.save_multifunction(several, str(folder / "several.mlpackage"))
    case = CASES["conv"]
    for target in ("ios14", "ios16"):
        save(ct, folder, "conv", torch.jit.trace(case, case.inputs()), target, case.shapes)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
