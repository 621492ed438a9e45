"""Learning-rate schedules for `fit`: after each epoch, by which factor the first rate is multiplied."""

from __future__ import annotations

import math
from typing import Protocol

from rnnfast._engine import checks


class Schedule(Protocol):
    """`state`: names of the attributes, numbers, that change from epoch to epoch; a checkpoint keeps them."""

    state: tuple[str, ...]

    def __call__(self, epochs: int, value: float) -> float:
        """epochs: done so far; value: the last validation loss (or the training loss where there is none). The factor."""


class StepDecay:
    """Times `factor` every so many epochs."""

    state: tuple[str, ...] = ()

    def __init__(self, every: int, factor: float = 0.1) -> None:
        self.every, self.factor = checks.positive("every", every), float(factor)

    def __call__(self, epochs: int, value: float) -> float:
        return float(self.factor ** (epochs // self.every))


class CosineDecay:
    """From 1 to `least` along half a cosine over so many epochs."""

    state: tuple[str, ...] = ()

    def __init__(self, epochs: int, least: float = 0.0) -> None:
        self.epochs, self.least = checks.positive("epochs", epochs), float(least)

    def __call__(self, epochs: int, value: float) -> float:
        share = min(epochs / self.epochs, 1.0)
        return self.least + (1 - self.least) * (1 + math.cos(math.pi * share)) / 2


class ReduceOnPlateau:
    """Times `factor` when the value has not fallen for more than `patience` epochs, but never below `least`."""

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
