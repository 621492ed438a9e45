"""Whole ONNX models: `load` runs one, with its nodes RNN, GRU and LSTM in rnnfast, and `export` writes layers as one.

Needs the package onnx; the functions of `rnnfast.onnx_ops`, which compute single operators, do not.
"""

from __future__ import annotations

from importlib import import_module

try:
    import_module("onnx.reference")  # a folder of models that is called onnx has none
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError('rnnfast.onnx needs the package onnx: pip install "rnnfast[onnx]"', name="onnx") from missing

from rnnfast.onnx.models import Argument, Model, load
from rnnfast.onnx.writer import export

__all__ = ["Argument", "Model", "export", "load"]
