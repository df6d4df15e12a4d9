"""ONNX models: walked as bytes before anything parses them, then loaded, probed, batched and run."""
