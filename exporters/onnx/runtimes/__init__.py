"""What runs ONNX files: onnxruntime, its build for browsers, OpenVINO."""
