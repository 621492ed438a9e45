"""Weights of PyTorch, Keras and ONNX as layers of rnnfast, and back; docs/weights.md is the guide.

Every function goes by the one list of the orders of gates, rnnfast/cells/conventions.py. Of the frameworks only that is needed
whose objects are given; arrays need none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnfast._engine import checks, keras_weights, torch_weights
from rnnfast._engine.exchange import Place, cell_of, floats, layer, places_of
from rnnfast._types import Array
from rnnfast.cells.conventions import KERAS, ONNX, TORCH
from rnnfast.layers import Layer

__all__ = ["from_keras", "from_onnx", "from_torch", "read_safetensors", "to_keras", "to_onnx", "to_torch"]


# ---- PyTorch ---------------------------------------------------------------------------------------------------------------
def from_torch(source: Any, prefix: str = "", **options: Any) -> Layer[Any]:
    """A layer with the weights of a recurrent module of PyTorch.

    Parameters
    ----------
    source : torch.nn.Module or mapping of str to tensor or array
        ``nn.RNN``, ``nn.LSTM``, ``nn.GRU`` or their ``Cell``, or a module that contains one; or a ``state_dict()``, from which
        the cell, the sizes, the number of layers, the directions and the biases are inferred: four gates are an LSTM, three a
        GRU, one a SimpleRNN.
    prefix : str
        The path of the recurrent module in `source`, such as "encoder.rnn". It may be left out, in whole or at its end, where
        it leads to one recurrent module only.
    **options
        Arguments of the layer's constructor that weights do not tell: batch_first, dropout, nonlinearity (of a SimpleRNN; a
        state_dict does not tell relu from tanh), dtype. Those of a module are the defaults. ``update="new"`` says that the
        weights are those of a GRU whose z multiplies the new content, ``h = (1 - z) h + z n``; nn.GRU's is the other one.

    Returns
    -------
    SimpleRNN, LSTM or GRU
        With the weights in their dtype. float16 and bfloat16 become float32, which holds each of their values exactly. Tensors
        of other devices are copied.

    Raises
    ------
    TypeError
        For a source, a dtype or an option that does not fit.
    ValueError
        If there is no recurrent module, or several, whose paths the text lists; for missing or unknown names, shapes that do
        not fit, and projections (proj_size).

    Examples
    --------
    >>> state_dict = rnnfast.LSTM(2, 3).params  # the names of a state_dict in PyTorch; arrays or tensors
    >>> rnnfast.weights.from_torch(state_dict)
    rnnfast.LSTM(2, 3)
    """
    places, settings, defaults = torch_weights.recurrent(source, prefix)
    return layer(TORCH, places, settings, {**defaults, **options})


def to_torch(net: Any, prefix: str = "") -> dict[str, Array]:
    """The weights of a layer by the names of PyTorch.

    Parameters
    ----------
    net : SimpleRNN, LSTM or GRU, frozen or not
        Or the layer of this name in `rnnfast.zoo`, if its options are such that PyTorch has the same.
    prefix : str
        The path of the recurrent module in the model that they are for, such as "encoder.rnn".

    Returns
    -------
    dict of str to ndarray
        Copies, fit for ``load_state_dict({name: torch.from_numpy(a) for name, a in to_torch(net).items()})``.

    Raises
    ------
    TypeError, ValueError
        For another object, and for what PyTorch does not have, such as ``reset_after=False``.

    Examples
    --------
    >>> sorted(rnnfast.weights.to_torch(rnnfast.GRU(2, 3), "encoder.rnn"))
    ['encoder.rnn.bias_hh_l0', 'encoder.rnn.bias_ih_l0', 'encoder.rnn.weight_hh_l0', 'encoder.rnn.weight_ih_l0']
    """
    _, places = places_of(net, TORCH)
    prefix = checks.path("prefix", prefix)
    usual = {**net.cell.defaults, "update": net._form.variant.options.get("update")}
    other = {name: value for name, value in net._form.variant.options.items() if value != usual[name]}
    if other and other != {"nonlinearity": "relu"}:
        raise ValueError(f"net: expected options that modules of PyTorch have as well, got {other}")
    arrays = [a for of_layer in places for place in of_layer for a in place if a is not None]
    return {f"{prefix}.{name}" if prefix else name: a for name, a in zip(net.params, arrays, strict=True)}


# ---- Keras -----------------------------------------------------------------------------------------------------------------
def from_keras(source: Any, **options: Any) -> Layer[Any]:
    """A layer with the weights of recurrent layers of Keras 3.

    Parameters
    ----------
    source : Keras layer, list of arrays, or list of these
        SimpleRNN, LSTM, GRU, or one of them in Bidirectional; or what their ``get_weights()`` gives: ``[kernel,
        recurrent_kernel, bias]``, without the bias if there is none, and those of both directions in one list. A list of
        several becomes a stack.
    **options
        Arguments of the layer's constructor: batch_first, which is True here, as in Keras; dropout; dtype; of lists of arrays,
        for which Keras's defaults are assumed, also nonlinearity or reset_after (which the bias of a GRU tells, if it has one).
        ``update`` is that of `from_torch`.

    Returns
    -------
    SimpleRNN, LSTM or GRU
        With the weights in their dtype; float16 and bfloat16 become float32. It is the layer of this name in `rnnfast.zoo` if
        the Keras layer has other activations. The dropout of Keras's layers, which acts in training alone, is not taken over.

    Raises
    ------
    TypeError
        For a source, a dtype or an option that does not fit.
    ValueError
        For shapes that do not fit, layers that differ, ``go_backwards``, and what no layer here computes.

    Examples
    --------
    >>> kernel, recurrent_kernel, bias = np.zeros((2, 12)), np.zeros((3, 12)), np.zeros(12)  # as get_weights() gives them
    >>> rnnfast.weights.from_keras([kernel, recurrent_kernel, bias])
    rnnfast.LSTM(2, 3, batch_first=True, dtype='float64')
    """
    places, settings = keras_weights.recurrent(source, options)
    return layer(KERAS, places, settings, {"batch_first": True, **options})


def to_keras(net: Any) -> list[list[Array]]:
    """The weights of a layer as Keras has them.

    Parameters
    ----------
    net : SimpleRNN, LSTM or GRU, frozen or not
        Or the layer of this name in `rnnfast.zoo` with the same weights.

    Returns
    -------
    list of lists of ndarray
        For each layer of the stack what ``set_weights`` takes: kernel (I, G*H), recurrent_kernel (H, G*H) and, with biases,
        bias: (2, 3*H) for a GRU with reset_after=True; (G*H,) otherwise, the sum of the two biases here. A bidirectional layer
        has those of both directions in one list, for Bidirectional. Copies.

    Raises
    ------
    TypeError, ValueError
        For another object, and for weights that no layer of Keras has.

    Examples
    --------
    >>> [a.shape for a in rnnfast.weights.to_keras(rnnfast.LSTM(2, 3))[0]]
    [(2, 12), (3, 12), (12,)]
    """
    cell, places = places_of(net, KERAS)
    two = cell == "gru" and net.reset_after

    def arrays(place: Place) -> list[Array]:
        kernels = [np.ascontiguousarray(place.w_ih.T), np.ascontiguousarray(place.w_hh.T)]
        if place.b_ih is None or place.b_hh is None:
            return kernels
        return [*kernels, np.stack([place.b_ih, place.b_hh]) if two else place.b_ih + place.b_hh]

    return [[a for place in of_layer for a in arrays(place)] for of_layer in places]


# ---- ONNX ------------------------------------------------------------------------------------------------------------------
def from_onnx(source: Any, name: str | Sequence[str] | None = None, **options: Any) -> Layer[Any]:
    """A layer with the weights of recurrent nodes of ONNX.

    Parameters
    ----------
    source : onnx.ModelProto, path of a model, tuple of arrays (W, R, B), or list of these tuples
        A model and its path need the package onnx. W is (D, G*H, I), R (D, G*H, H), B (D, 2*G*H), None or left out, where D is
        the number of directions. A list of several becomes a stack.
    name : str or sequence of str, optional
        The node in the model, by its name or, if it has none, the name of its first output. It may be left out if there is one
        recurrent node only. Several become a stack, the first layer first.
    **options
        Arguments of the layer's constructor: batch_first, dropout, dtype. Of arrays also nonlinearity, and for a GRU
        reset_after, which must be given: whether the attribute linear_before_reset is 1. ``update`` is that of `from_torch`.

    Returns
    -------
    SimpleRNN, LSTM or GRU
        With the weights in their dtype; float16 and bfloat16 become float32. It is the layer of this name in `rnnfast.zoo` if
        the node has other activations. y is (T, B, D*H), where ONNX has (T, D, B, H).

    Raises
    ------
    TypeError
        For a source, a dtype or an option that does not fit.
    ValueError
        If there is no such node, or several, whose names the text lists; for weights that other nodes compute, shapes that do
        not fit, layers that differ, and what no layer here computes.
    OSError, ModuleNotFoundError
        If the file cannot be read, or onnx is not installed.

    Examples
    --------
    >>> W, R, B = np.zeros((2, 9, 2)), np.zeros((2, 9, 3)), np.zeros((2, 18))  # two directions
    >>> rnnfast.weights.from_onnx((W, R, B), reset_after=True)
    rnnfast.GRU(2, 3, bidirectional=True, dtype='float64')
    """
    settings: dict[str, Any] = {}
    if isinstance(source, (tuple, list)):
        several = source if source and isinstance(source[0], (tuple, list)) else [source]
        places = [_of_matrices("source", arrays) for arrays in several]
        if cell_of("R", places[0][0].w_hh) == "gru" and "reset_after" not in options:
            raise ValueError(
                "reset_after: expected True or False for the arrays of a GRU (linear_before_reset is 1 or 0), got none"
            )
    else:
        from rnnfast._engine import graphs  # with onnx

        settings, matrices = graphs.recurrent(source, name)
        options = {"batch_first": settings.pop("batch_first"), **options}
        places = [_of_matrices(label, arrays) for label, arrays in matrices]
    return layer(ONNX, places, settings, options)


def _of_matrices(label: str, arrays: Sequence[Any]) -> list[Place]:
    """W (D, G*H, I), R (D, G*H, H), B (D, 2*G*H) or None: of each direction."""
    if len(arrays) not in (2, 3):
        raise ValueError(f"{label}: expected arrays (W, R, B) or (W, R), got {len(arrays)}")
    W, R = floats("W", arrays[0]), floats("R", arrays[1])
    B = None if len(arrays) == 2 or arrays[2] is None else floats("B", arrays[2])
    for letter, a, rest in (("W", W, ("G*H", "I")), ("R", R, ("G*H", "H"))):
        if a.ndim != 3 or len(a) not in (1, 2) or len(a) != len(W):
            raise checks.wrong_shape(f"{label}: {letter}", ("D", *rest), "1 or 2 directions, ...", a.shape)
    if B is None:
        return [Place(w, r) for w, r in zip(W, R, strict=True)]
    if B.shape != (len(R), 2 * R.shape[1]):
        raise checks.wrong_shape(f"{label}: B", (len(R), 2 * R.shape[1]), "directions, 2*gates*hidden", B.shape)
    return [Place(w, r, *np.split(b, 2)) for w, r, b in zip(W, R, B, strict=True)]


def to_onnx(net: Any) -> list[tuple[Array, Array, Array | None]]:
    """The weights of a layer as the inputs of nodes of ONNX.

    Parameters
    ----------
    net : SimpleRNN, LSTM or GRU, frozen or not
        Or the layer of this name in `rnnfast.zoo` with the same weights.

    Returns
    -------
    list of tuples (W, R, B)
        For each layer of the stack W (D, G*H, I), R (D, G*H, H) and B (D, 2*G*H), or None without biases. Copies. The node of a
        GRU with reset_after=True has the attribute linear_before_reset=1.

    Raises
    ------
    TypeError, ValueError
        For another object, and for weights that no node of ONNX has.

    Examples
    --------
    >>> W, R, B = rnnfast.weights.to_onnx(rnnfast.LSTM(2, 3, bidirectional=True))[0]
    >>> W.shape, R.shape, B.shape
    ((2, 12, 2), (2, 12, 3), (2, 24))
    """
    _, places = places_of(net, ONNX)
    found = []
    for of_layer in places:
        biases = [np.concatenate([p.b_ih, p.b_hh]) for p in of_layer if p.b_ih is not None and p.b_hh is not None]
        B = np.stack(biases) if biases else None
        found.append((np.stack([p.w_ih for p in of_layer]), np.stack([p.w_hh for p in of_layer]), B))
    return found


# ---- files -----------------------------------------------------------------------------------------------------------------
def read_safetensors(file: Any, prefix: str = "") -> dict[str, Array]:
    """The arrays of a safetensors file, such as a checkpoint of PyTorch, which need not be installed.

    Parameters
    ----------
    file : str, os.PathLike or binary file
        A file object is read to its end.
    prefix : str
        Only tensors whose names begin so are converted, "encoder.rnn." for example; the others may have any dtype.

    Returns
    -------
    dict of str to ndarray
        By the whole names. BF16 and F16 become float32, which holds each of their values exactly.

    Raises
    ------
    ValueError
        If the file is damaged or of another format, or has a tensor of a dtype that NumPy does not have, such as F8_E4M3; the
        text names the file and what is wrong.
    ModuleNotFoundError
        If the package safetensors is not installed.
    TypeError, OSError, MemoryError
        If `file` is neither a path nor a binary file, or cannot be read, or there is not enough memory.

    Examples
    --------
    >>> rnnfast.GRU(2, 3).save("net.safetensors")
    >>> rnnfast.weights.read_safetensors("net.safetensors")["weight_hh_l0"].shape
    (9, 3)
    """
    from rnnfast._engine import container, tensors

    checks.path("prefix", prefix)
    with container.naming(file):
        _, found = tensors.decoded(container.content(file, only_tensors=True))
        if prefix and not any(name.startswith(prefix) for name in found):
            raise ValueError(f"prefix: expected the beginning of a name, got {prefix!r}; there are {checks.listed(found)}")
        return {name: tensor.values(name) for name, tensor in found.items() if name.startswith(prefix)}
