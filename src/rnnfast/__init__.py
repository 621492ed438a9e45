"""Fast recurrent networks on the CPU for NumPy.

SimpleRNN, LSTM and GRU, forward and back-propagation through time, computed by compiled kernels.
The functions take weights as arguments, the layers own them, and ``layer.freeze()`` gives the fastest form for inference.
`rnnfast.reference` is the plain NumPy implementation that the kernels are tested against; `rnnfast.nn` is a training kit.
``python -m rnnfast`` checks the kernels on this machine and times them.
"""

import sys as _sys
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from rnnfast import reference
from rnnfast.functions import gru, lstm, simple_rnn
from rnnfast.layers import GRU, LSTM, SimpleRNN
from rnnfast.pools import register_threadpoolctl
from rnnfast.runtime import get_num_threads, num_threads, set_num_threads, show_config, trim, use_isa
from rnnfast.storage import load
from rnnfast.version import __version__

__all__ = [
    "GRU",
    "LSTM",
    "SimpleRNN",
    "__version__",
    "cell",
    "check_cell",
    "get_include",
    "get_num_threads",
    "gru",
    "load",
    "lstm",
    "num_threads",
    "onnx_ops",
    "ops",
    "reference",
    "register_threadpoolctl",
    "set_num_threads",
    "show_config",
    "simple_rnn",
    "trim",
    "use_isa",
    "weights",
    "zoo",
]

if _TYPE_CHECKING:
    from rnnfast import onnx_ops, ops, weights, zoo
    from rnnfast.capi import get_include
    from rnnfast.declared import cell
    from rnnfast.prove_cell import check_cell

_LATER = {"cell": "rnnfast.declared", "check_cell": "rnnfast.prove_cell", "ops": "rnnfast.ops", "zoo": "rnnfast.zoo"}
_LATER |= {"get_include": "rnnfast.capi", "onnx_ops": "rnnfast.onnx_ops", "weights": "rnnfast.weights"}


def __getattr__(name: str) -> _Any:
    """What not every program needs is imported when it is first used."""
    if name not in _LATER:
        raise AttributeError(f"module 'rnnfast' has no attribute {name!r}")
    from importlib import import_module

    module = import_module(_LATER[name])
    found = module if module.__name__ == f"rnnfast.{name}" else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if "threadpoolctl" in _sys.modules:
    register_threadpoolctl()
