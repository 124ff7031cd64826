"""Joined models as ONNX graphs: written from PyTorch (export.py), run by ONNX Runtime without it (model.py)."""
