"""Distil large multimodal teachers into small students, on PyTorch Lightning."""

__version__ = "0.1.0"
