"""Bundles of options, each for one consumer, with reasons. The README lists what was verified for each."""

from exporters.spec import Choice, Profile

_CEIL_FREE = Choice(
    option="ceil_free",
    value=True,
    why="a pool that every runtime has and reads alike; onnxruntime-web's WebGPU refuses the ceil mode",
)

# Bytes and banded products need operations that such compilers do not have.
_PLAIN = (
    Choice(option="io", value="nchw", why="no bytes, and no operations to turn them into images"),
    Choice(option="banded", value=False, why="no gathered rows"),
)

PROFILES = {
    "ort": Profile(
        help="onnxruntime on a CPU",
        choices=(
            Choice(
                option="banded", value=True, why="rows by a product are faster there than Resize", if_it_resizes=True
            ),
        ),
    ),
    "tensorrt": Profile(
        help="TensorRT 8.4 and later",
        one_size=True,
        choices=(
            Choice(option="opset", value=13, why="the newest that the parser of TensorRT 8.4 reads"),
            _CEIL_FREE,
            *_PLAIN,
        ),
        without={"int8": "TensorRT reads no steps with a zero of their own; give --precision fp16"},
    ),
    "webgpu": Profile(
        help="onnxruntime-web: WebGPU and wasm",
        choices=(
            Choice(option="opset", value=17, why="HardSwish is one node"),
            _CEIL_FREE,
        ),
        without={"int8": "WebGPU has no convolutions in eight bits; give --precision fp16"},
    ),
    "openvino": Profile(
        help="OpenVINO",
        choices=(Choice(option="opset", value=14, why="HardSwish is one node, as OpenVINO has it"),),
    ),
    "npu": Profile(
        help="NPU compilers: static shapes, few kinds of operations",
        one_size=True,
        choices=(
            Choice(option="opset", value=13, why="old enough for most compilers"),
            Choice(option="primitive_activations", value=True, why="neither HardSwish nor HardSigmoid"),
            _CEIL_FREE,
            *_PLAIN,
        ),
        without={"int8": "such compilers quantise for their own hardware; give them fp32"},
    ),
}
