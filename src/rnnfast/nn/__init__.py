"""A small training kit around the recurrent layers, in plain NumPy: what the classic RNN programs need, and no more.

Every layer has `params`, a mapping of names to the layer's own arrays, which an optimizer changes in place. A call of the layer
is inference. ``y, tape = layer.record(x)`` is the forward pass of a training step, and ``g = tape.backward(dy)`` then gives the
gradients ``g.x`` and ``g.params``. There is no automatic differentiation: a loss returns its gradient together with its value,
and ``nn.Sequential`` passes gradients back through a chain of layers. Sequences are (time, batch, ...).
"""

from rnnfast._engine.tapes import ModelGradients as Gradients
from rnnfast.nn.attention import AdditiveAttention
from rnnfast.nn.data import MinMaxScaler, Vocabulary, pad_sequences, sliding_windows, time_split
from rnnfast.nn.fit import History, evaluate, fit, predict
from rnnfast.nn.layers import Dense, Dropout, Embedding, Module, Recurrent, Sequential, Tape
from rnnfast.nn.losses import accuracy, binary_cross_entropy, cross_entropy, mean_absolute_error, mean_squared_error
from rnnfast.nn.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop, clip_grad_norm
from rnnfast.nn.schedules import CosineDecay, ReduceOnPlateau, StepDecay

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "AdditiveAttention",
    "CosineDecay",
    "Dense",
    "Dropout",
    "Embedding",
    "Gradients",
    "History",
    "MinMaxScaler",
    "Module",
    "Optimizer",
    "RMSprop",
    "Recurrent",
    "ReduceOnPlateau",
    "Sequential",
    "StepDecay",
    "Tape",
    "Vocabulary",
    "accuracy",
    "binary_cross_entropy",
    "clip_grad_norm",
    "cross_entropy",
    "evaluate",
    "fit",
    "mean_absolute_error",
    "mean_squared_error",
    "pad_sequences",
    "predict",
    "sliding_windows",
    "time_split",
]
