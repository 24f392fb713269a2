"""Compare an ONNX file for any size with golden.npz, frame by frame."""

import numpy as np
import onnxruntime as ort

LIMIT = 1e-4
OUTPUTS = ("fgr", "pha", "r1o", "r2o", "r3o", "r4o")

vectors = np.load("golden.npz")
session = ort.InferenceSession("rvm_mobilenetv3_fp32.onnx")
errors = dict.fromkeys(OUTPUTS, 0.0)
for size in ("96x64", "80x45"):
    states = {f"r{k}i": np.zeros((1, 1, 1, 1), np.float32) for k in (1, 2, 3, 4)}
    ratio = vectors[f"{size}/downsample_ratio"].reshape(1)
    for t, frame in enumerate(vectors[f"{size}/src"]):
        src = frame[None].transpose(0, 3, 1, 2).astype(np.float32) / 255
        outputs = session.run(OUTPUTS, {"src": src, **states, "downsample_ratio": ratio})
        for name, output in zip(OUTPUTS, outputs):
            error = np.abs(output[0] - vectors[f"mobilenetv3/{size}/{name}"][t]).max()
            assert error <= LIMIT, f"frame {t} of {size}: {name} is off by {error}"
            errors[name] = max(errors[name], float(error))
        states = dict(zip(states, outputs[2:]))
print(errors)
