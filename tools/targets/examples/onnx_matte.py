"""Matte a video over green with an ONNX file, for any size or for one: python matte.py talk.mp4 green.mp4."""

import sys

import av
import numpy as np
import onnxruntime as ort

talk, green_screen = sys.argv[1:]
options = ort.SessionOptions()
options.enable_mem_pattern = False  # a 4K frame takes less memory
session = ort.InferenceSession("rvm_mobilenetv3_fp32.onnx", options)
shapes = {each.name: each.shape for each in session.get_inputs()}


def zeros(shape):
    return np.zeros(shape if all(isinstance(axis, int) for axis in shape) else (1, 1, 1, 1), np.float32)


states = {name: zeros(shapes[name]) for name in ("r1i", "r2i", "r3i", "r4i")}
green = np.array([120, 255, 155], np.float32).reshape(3, 1, 1) / 255

with av.open(talk) as source, av.open(green_screen, "w") as sink:
    video = source.streams.video[0]
    scale = min(512 / max(video.width, video.height), 1)  # the network sees about 512 pixels
    ratio = {"downsample_ratio": np.array([scale], np.float32)} if "downsample_ratio" in shapes else {}
    output = sink.add_stream("libx264", rate=video.average_rate)
    output.width, output.height, output.pix_fmt = video.width, video.height, "yuv420p"
    for frame in source.decode(video):
        src = frame.to_ndarray(format="rgb24").transpose(2, 0, 1)[None].astype(np.float32) / 255
        fgr, pha, *after = session.run(None, {"src": src, **states, **ratio})
        states = {name: np.copy(state) for name, state in zip(states, after)}
        composite = (fgr * pha + green * (1 - pha))[0].transpose(1, 2, 0)
        picture = av.VideoFrame.from_ndarray(np.rint(composite * 255).astype(np.uint8), format="rgb24")
        sink.mux(output.encode(picture))
    sink.mux(output.encode())
