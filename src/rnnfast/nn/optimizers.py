"""Optimizers: they update the arrays of `params` in place, from gradients with the same names.

The gradients of all parameters are copied one after the other into one flat array, and so are the moments (the running means
that an optimizer keeps). A step then takes a dozen NumPy calls, and a few for each parameter.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rnnfast._engine import checks
from rnnfast._types import Array


def clip_grad_norm(grads: Mapping[str, Array], max_norm: float) -> float:
    """Scale all gradients in place, so that the 2-norm of all their elements together is at most `max_norm`.

    Parameters
    ----------
    grads : mapping of str to ndarray
    max_norm : float
        Above 0, else it is a ValueError.

    Returns
    -------
    float
        The norm before scaling.

    Examples
    --------
    >>> grads = {"weight": np.array([3.0, 4.0])}
    >>> nn.clip_grad_norm(grads, 1.0)
    5.0
    >>> grads["weight"]
    array([0.6, 0.8])
    """
    if not max_norm > 0:
        raise checks.wrong_value("max_norm", "a number above 0", max_norm)
    square = sum(float(np.vdot(g, g)) for g in grads.values())
    if not 1e-30 < square < 1e30:  # float32 may have overflown or vanished
        square = sum(float(np.square(g, dtype=np.float64).sum()) for g in grads.values())
    norm = float(np.sqrt(square))
    if norm > max_norm:
        for g in grads.values():
            g *= max_norm / norm
    return norm


class Optimizer:
    """What all optimizers share.

    Parameters
    ----------
    params : mapping of str to ndarray
        The arrays to update, at least one, all of one dtype. They are updated in place and must stay the same objects.
    lr : float
        The learning rate, 0 or more.

    Attributes
    ----------
    lr : float
        May be changed at any time.
    steps : int
        How many updates were done.
    state : dict of str to ndarray
        The moments (the running means that the optimizer keeps), as flat arrays. With `steps` and the parameters, they are all
        that is needed to resume exactly.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.
    """

    moments: tuple[str, ...] = ()  # names of the running means a subclass keeps

    def __init__(self, params: Mapping[str, Array], lr: float) -> None:
        if not params:
            raise ValueError("params: expected at least one parameter, got none")
        self.lr, self.steps, self._params = at_least_zero("lr", lr), 0, dict(params)
        dtype = np.result_type(*params.values())
        if any(p.dtype != dtype for p in params.values()):
            raise TypeError(f"params: expected one dtype, got {', '.join(sorted({p.dtype.name for p in params.values()}))}")
        ends = np.cumsum([p.size for p in params.values()]).tolist()
        self._slices = [slice(end - p.size, end) for end, p in zip(ends, params.values(), strict=True)]
        self._gradient, self._work = np.empty(ends[-1], dtype), np.empty(ends[-1], dtype)
        self.state = {name: np.zeros(ends[-1], dtype) for name in self.moments}

    def updates(self, params: Mapping[str, Array]) -> bool:
        """Whether the optimizer updates exactly these arrays."""
        return params.keys() == self._params.keys() and all(params[name] is a for name, a in self._params.items())

    def flatten(self, grads: Mapping[str, Array]) -> Array:
        """Copy all gradients one after the other into one array, for example to average it with those of other processes.

        Parameters
        ----------
        grads : mapping of str to ndarray
            A gradient for each parameter, by its name and of its shape.

        Returns
        -------
        flat : ndarray
            1-D, in the order of the parameters: the optimizer's own array, which `step` takes, and which the next call of
            `flatten` or `step` writes again.

        Raises
        ------
        ValueError
            If a name is missing or unknown, or a shape is wrong.
        """
        if grads.keys() != self._params.keys():
            names = ", ".join(sorted(grads.keys() ^ self._params.keys()))
            raise ValueError(f"grads: expected the names of params, got a difference in {names}")
        for (name, p), place in zip(self._params.items(), self._slices, strict=True):
            if grads[name].shape != p.shape:
                raise checks.wrong_shape(f"grads[{name!r}]", p.shape, "as the parameter", grads[name].shape)
            self._gradient[place].reshape(p.shape)[...] = grads[name]
        return self._gradient

    def step(self, grads: Mapping[str, Array] | Array) -> None:
        """Update the parameters once.

        Parameters
        ----------
        grads : mapping of str to ndarray, or ndarray
            A gradient for each parameter, by its name and of its shape; or all of them in one array, as `flatten` and the
            ``g.flat`` of a recurrent layer have them. The gradients are not changed.

        Raises
        ------
        ValueError
            If a name is missing or unknown, or a shape is wrong. No parameter is changed then.
        """
        if isinstance(grads, Mapping):
            self.flatten(grads)
        elif grads.shape != self._gradient.shape:
            raise checks.wrong_shape("grads", self._gradient.shape, "all parameters", grads.shape)
        elif grads is not self._gradient:
            self._gradient[...] = grads
        self.steps += 1
        change = self._change(self._gradient, self._work)
        for p, place in zip(self._params.values(), self._slices, strict=True):
            p -= change[place].reshape(p.shape)

    def _change(self, g: Array, work: Array) -> Array:
        """What to subtract from the parameters. g (the gradients) and work (of its shape) may be overwritten and returned."""
        raise NotImplementedError


def at_least_zero(name: str, value: float, below: float = np.inf) -> float:
    number = float(value)
    if not 0 <= number < below:
        raise checks.wrong_value(name, f"a number >= 0 and < {below:g}", value)
    return number


class SGD(Optimizer):
    """Stochastic gradient descent with momentum: ``v = momentum v + g;  p -= lr v``, as in PyTorch.

    Parameters
    ----------
    params, lr
        As in `Optimizer`.
    momentum : float
        0 or more; 0 is plain gradient descent.

    Examples
    --------
    >>> params = {"weight": np.array([1.0, 2.0])}
    >>> optimizer = nn.SGD(params, lr=0.1)
    >>> optimizer.step({"weight": np.array([0.5, -0.5])})
    >>> params["weight"].round(3)
    array([0.95, 2.05])
    """

    moments = ("velocity",)

    def __init__(self, params: Mapping[str, Array], lr: float, *, momentum: float = 0.0) -> None:
        super().__init__(params, lr)
        self.momentum = at_least_zero("momentum", momentum)

    def _change(self, g: Array, work: Array) -> Array:
        velocity = self.state["velocity"]
        velocity *= self.momentum
        velocity += g
        return np.multiply(velocity, self.lr, out=work)


class RMSprop(Optimizer):
    """RMSprop: ``s = decay s + (1 - decay) g^2;  p -= lr g / (sqrt(s) + eps)``, as in PyTorch, where decay is called `alpha`.

    Parameters
    ----------
    params, lr
        As in `Optimizer`.
    decay : float
        From 0 to below 1.
    eps : float
        0 or more.

    Examples
    --------
    >>> params = {"weight": np.array([1.0, 2.0])}
    >>> optimizer = nn.RMSprop(params, lr=0.1)
    >>> optimizer.step({"weight": np.array([0.5, -0.5])})
    >>> params["weight"].round(3)
    array([0., 3.])
    """

    moments = ("square",)

    def __init__(self, params: Mapping[str, Array], lr: float = 0.01, *, decay: float = 0.99, eps: float = 1e-8) -> None:
        super().__init__(params, lr)
        self.decay, self.eps = at_least_zero("decay", decay, 1), at_least_zero("eps", eps)

    def _change(self, g: Array, work: Array) -> Array:
        square = self.state["square"]
        square *= self.decay
        np.multiply(g, g, out=work)
        work *= 1 - self.decay
        square += work
        np.sqrt(square, out=work)
        work += self.eps
        np.divide(g, work, out=work)
        work *= self.lr
        return work


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015): ``p -= lr m' / (sqrt(s') + eps)`` in update t, with ``m' = m / (1 - beta1^t)`` and
    ``s' = s / (1 - beta2^t)``, where m and s are running means of g and g^2.

    Parameters
    ----------
    params, lr
        As in `Optimizer`.
    betas : pair of float
        beta1 and beta2, the decays of m and s, from 0 to below 1.
    eps : float
        0 or more.

    Examples
    --------
    >>> params = {"weight": np.array([1.0, 2.0])}
    >>> optimizer = nn.Adam(params, lr=0.1)
    >>> optimizer.step({"weight": np.array([0.5, -0.5])})
    >>> params["weight"].round(3)
    array([0.9, 2.1])
    """

    moments = ("mean", "square")

    def __init__(
        self,
        params: Mapping[str, Array],
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, lr)
        self.beta1, self.beta2 = at_least_zero("betas[0]", betas[0], 1), at_least_zero("betas[1]", betas[1], 1)
        self.eps = at_least_zero("eps", eps)

    def _change(self, g: Array, work: Array) -> Array:
        mean, square = self.state["mean"], self.state["square"]
        corrected = (1 - self.beta2**self.steps) ** 0.5
        mean *= self.beta1
        mean += np.multiply(g, 1 - self.beta1, out=work)
        square *= self.beta2
        np.multiply(g, g, out=work)
        work *= 1 - self.beta2
        square += work
        np.sqrt(square, out=work)
        work += self.eps * corrected
        np.divide(mean, work, out=work)
        work *= self.lr * corrected / (1 - self.beta1**self.steps)
        return work


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019): before each update of Adam, ``p -= lr weight_decay p``.

    Parameters
    ----------
    params, lr, betas, eps
        As in `Adam`.
    weight_decay : float
        0 or more.

    Examples
    --------
    >>> params = {"weight": np.array([1.0, 2.0])}
    >>> optimizer = nn.AdamW(params, lr=0.1, weight_decay=0.1)
    >>> optimizer.step({"weight": np.array([0.5, -0.5])})
    >>> params["weight"].round(3)
    array([0.89, 2.08])
    """

    def __init__(
        self,
        params: Mapping[str, Array],
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr, betas=betas, eps=eps)
        self.weight_decay = at_least_zero("weight_decay", weight_decay)

    def _change(self, g: Array, work: Array) -> Array:
        for p in self._params.values():
            p *= 1 - self.lr * self.weight_decay
        return super()._change(g, work)
