"""Layers in files: `load`. What `save` writes of a layer is in _engine/stack.py, the file's format in _engine/container.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rnnfast._engine import checks
from rnnfast._engine.stack import ARGUMENTS, FILE_KIND, version_of
from rnnfast.layers import LAYERS, Layer

__all__ = ["load"]


def load(file: Any) -> Any:
    """Load the layer that ``net.save(file)`` wrote, as .npz or as .safetensors; if that was frozen, the result is frozen too.

    Nothing in the file is executed: the worst that a file from an unknown source can cause is an error.

    Parameters
    ----------
    file : str, os.PathLike or binary file
        A file object is read to its end.

    Returns
    -------
    SimpleRNN, LSTM, GRU or Frozen
        With the arguments and parameters of the layer that was saved; its `rng` is None. A frozen layer is packed for the
        instruction set in use here (see `rnnfast.use_isa`).

    Raises
    ------
    ValueError
        If `save` did not write the file, it is damaged, or a later version wrote it; the text names the file and what is wrong.
    TypeError
        If `file` is neither a path nor a binary file.
    ModuleNotFoundError
        If it is a .safetensors file, and the package safetensors is not installed.
    OSError, MemoryError
        If the file cannot be read (FileNotFoundError, for example), or there is not enough memory.

    Examples
    --------
    >>> rnnfast.GRU(2, 3, num_layers=2).freeze().save("net.npz")
    >>> rnnfast.load("net.npz")
    rnnfast.GRU(2, 3, num_layers=2).freeze()
    """
    from rnnfast._engine import container  # not everybody's, as in `save`

    with container.naming(file):
        content = container.read(file)
        layer = _described(content.description)
        layer._set_params(content.arrays({name: (shape, layer.dtype) for name, shape in layer._shapes.items()}))
    return layer.freeze() if content.description["frozen"] else layer


def layer_class(cell: Any) -> type[Layer[Any]]:
    """From the name of a cell, or from all of it."""
    if isinstance(cell, dict):
        from rnnfast.declared import class_of  # formulas are imported by those who use them

        return class_of(cell)
    return LAYERS[checks.one_of("cell", cell, list(LAYERS))]


def _described(description: Mapping[str, Any]) -> Layer[Any]:
    """A layer without parameters."""
    try:
        checks.one_of("format", description.get("format"), [FILE_KIND])
        version_of(description, "description")
        checks.exact_names("description", description, ("format", "version", "cell", "frozen", "arguments", "options"))
        checks.flag("frozen", description["frozen"])
        kind = layer_class(description["cell"])
        arguments, options = description["arguments"], description["options"]
        checks.exact_names("arguments", arguments, ARGUMENTS)
        checks.exact_names("options", options, kind.cell.options)
        checks.one_of("dtype", arguments["dtype"], [dtype.name for dtype in checks.FLOATS])
        return kind._without_parameters(options, arguments)
    except TypeError as error:
        raise ValueError(str(error)) from None
