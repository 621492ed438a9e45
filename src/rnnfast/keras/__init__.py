"""Keras 3 models on rnnfast, unmodified: ``rnnfast.keras.enable()``; docs/from_keras.md is the guide.

`enable` replaces the loop over time steps of the layers LSTM, GRU and SimpleRNN (and so of Bidirectional), in every model there
is and will be in this process. Layers, weights, training loops and files stay Keras's.
"""

from __future__ import annotations

from rnnfast.keras._report import Report, Row, noted

__all__ = ["Report", "Row", "disable", "enable", "report"]


def enable() -> None:
    """Run the recurrent layers of Keras on rnnfast, from the next call on.

    It works with Keras's numpy backend (inference) and its torch backend on the CPU (training too). A call that rnnfast cannot
    do is left to Keras's own loop; `report` says why. The report starts anew. Enabling twice does nothing more.

    Raises
    ------
    ImportError
        If Keras 3 is not installed, or what its backend needs.
    RuntimeError
        If Keras runs on another backend.
    """
    try:
        from rnnfast.keras import _patch
    except ModuleNotFoundError as missing:
        if missing.name == "keras":
            raise ImportError('rnnfast.keras: Keras is not installed; pip install "rnnfast[keras]"') from missing
        raise ImportError(
            f"rnnfast.keras: Keras cannot be imported, since {missing.name} is not installed, which its backend needs; set "
            "KERAS_BACKEND=torch, and pip install torch, or numpy, and pip install scipy jax, before Keras is imported"
        ) from missing
    _patch.put_in()


def disable() -> None:
    """Put Keras's own functions back. The report stays. Without `enable` before it does nothing."""
    import sys

    patch = sys.modules.get("rnnfast.keras._patch")
    if patch is not None:
        patch.take_out()


def report() -> Report:
    """Which calls of recurrent layers ran on rnnfast since `enable`, and which did not, and why.

    Returns
    -------
    Report
        A tuple of rows (layer, kind, fused, how, calls), one for each layer and way in which it was computed; `how` is the
        reason where a call was left to Keras. Printed, it is a table. Calls inside a compiled function (jit_compile=True) are
        counted once for each time that it is compiled.
    """
    return noted()
