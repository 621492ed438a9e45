"""Fast recurrent networks on the CPU for NumPy.

SimpleRNN, LSTM and GRU, forward and back-propagation through time, computed by compiled kernels.
The functions take weights as arguments, the layers own them, and ``layer.freeze()`` gives the fastest form for inference.
`rnnfast.reference` is the plain NumPy implementation that the kernels are tested against; `rnnfast.nn` is a training kit.
``python -m rnnfast`` checks the kernels on this machine and times them.
"""

import sys as _sys

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
    "get_num_threads",
    "gru",
    "load",
    "lstm",
    "num_threads",
    "reference",
    "register_threadpoolctl",
    "set_num_threads",
    "show_config",
    "simple_rnn",
    "trim",
    "use_isa",
]

if "threadpoolctl" in _sys.modules:
    register_threadpoolctl()
