"""TFaaS: an inference-first server for TensorFlow and ONNX models."""

__version__ = "0.1.0"
