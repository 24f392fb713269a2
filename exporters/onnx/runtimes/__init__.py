"""The runtimes of ONNX files: onnxruntime, its build for browsers, OpenVINO."""
