"""Learning-rate schedules for `fit`. After each epoch a schedule gives the factor by which the initial rate is multiplied."""

from __future__ import annotations

import math
from typing import Protocol

from rnnfast._engine import checks


class Schedule(Protocol):
    """What `fit` needs of a schedule.

    Attributes
    ----------
    state : tuple of str
        The names of the attributes that change from epoch to epoch. They are numbers, and a checkpoint contains them.
    """

    state: tuple[str, ...]

    def __call__(self, epochs: int, value: float) -> float:
        """The factor for the next epoch.

        Parameters
        ----------
        epochs : int
            How many epochs are done.
        value : float
            The last validation loss or, without validation, the last training loss.
        """


class StepDecay:
    """Multiplies the rate by `factor` after every `every` epochs.

    Parameters
    ----------
    every : int
        At least 1.
    factor : float

    Examples
    --------
    >>> schedule = nn.StepDecay(every=10)
    >>> schedule(9, 0.0), schedule(10, 0.0)
    (1.0, 0.1)
    """

    state: tuple[str, ...] = ()

    def __init__(self, every: int, factor: float = 0.1) -> None:
        self.every, self.factor = checks.positive("every", every), float(factor)

    def __call__(self, epochs: int, value: float) -> float:
        return float(self.factor ** (epochs // self.every))


class CosineDecay:
    """Lowers the factor from 1 to `least` along half a cosine.

    Parameters
    ----------
    epochs : int
        After how many epochs it reaches `least`, at least 1. It then stays there.
    least : float

    Examples
    --------
    >>> schedule = nn.CosineDecay(epochs=10)
    >>> schedule(0, 0.0), schedule(5, 0.0), schedule(10, 0.0)
    (1.0, 0.5, 0.0)
    """

    state: tuple[str, ...] = ()

    def __init__(self, epochs: int, least: float = 0.0) -> None:
        self.epochs, self.least = checks.positive("epochs", epochs), float(least)

    def __call__(self, epochs: int, value: float) -> float:
        share = min(epochs / self.epochs, 1.0)
        return self.least + (1 - self.least) * (1 + math.cos(math.pi * share)) / 2


class ReduceOnPlateau:
    """Multiplies the rate by `factor` whenever the loss has not fallen for more than `patience` epochs.

    Parameters
    ----------
    factor : float
    patience : int
        At least 1.
    least : float
        The smallest factor by which the initial rate is ever multiplied.

    Examples
    --------
    >>> schedule = nn.ReduceOnPlateau(patience=1)
    >>> [schedule(epoch, loss) for epoch, loss in enumerate([3.0, 2.0, 2.0, 2.0, 1.0])]
    [1.0, 1.0, 1.0, 0.5, 0.5]
    """

    state: tuple[str, ...] = ("best", "waited", "now")

    def __init__(self, factor: float = 0.5, patience: int = 3, least: float = 1e-3) -> None:
        self.factor, self.patience, self.least = float(factor), checks.positive("patience", patience), float(least)
        self.best, self.waited, self.now = math.inf, 0, 1.0

    def __call__(self, epochs: int, value: float) -> float:
        self.waited = 0 if value < self.best else self.waited + 1
        self.best = min(self.best, value)
        if self.waited > self.patience:
            self.now, self.waited = max(self.now * self.factor, self.least), 0
        return self.now
