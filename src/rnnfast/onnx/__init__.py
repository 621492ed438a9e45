"""Whole ONNX models: `load` runs one, with its nodes RNN, GRU and LSTM in rnnfast, and `export` writes layers as one.

Needs the package onnx; the functions of `rnnfast.onnx_ops`, which compute single operators, do not.
"""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("onnx") is None:
    raise ModuleNotFoundError('rnnfast.onnx needs the package onnx: pip install "rnnfast[onnx]"', name="onnx")

from rnnfast.onnx.models import Model, load
from rnnfast.onnx.writer import export

__all__ = ["Model", "export", "load"]
