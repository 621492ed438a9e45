"""The training loop: mini-batches, validation, early stopping, schedules, history, and checkpoints from which it resumes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnnfast._engine import checks, container
from rnnfast._types import Array
from rnnfast.nn.layers import Module
from rnnfast.nn.optimizers import Optimizer, clip_grad_norm
from rnnfast.nn.parallel import Part, Reduce, checksum
from rnnfast.nn.samples import Samples, batches, samples, take
from rnnfast.nn.schedules import Schedule
from rnnfast.progress import progress

Metric = Callable[[Array, Array], float]
Loss = Callable[[Array, Array], tuple[float, Array]]
History = dict[str, list[float]]


class _Means:
    """Means of a loss and of metrics over samples, from those of batches."""

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self.metrics, self.sums, self.samples = metrics, np.zeros(1 + len(metrics)), 0

    def add(self, loss: float, predicted: Array, y: Array, samples: int) -> None:
        values = [loss, *[metric(predicted, y) for metric in self.metrics.values()]]
        self.sums += samples * np.array(values, np.float64)
        self.samples += samples

    def over(self, part: Part) -> dict[str, float]:
        """By name, over the samples of all processes."""
        means = self.sums / max(1, self.samples)
        part.mean(means, self.samples)
        return dict(zip(("loss", *self.metrics), means.tolist(), strict=True))


def fit(
    model: Module,
    loss: Loss,
    optimizer: Optimizer,
    x: Any,
    y: Any,
    *,
    lengths: Any = None,
    batch_axes: tuple[int, int] = (1, 0),
    epochs: int = 10,
    batch_size: int = 32,
    shuffle: bool = True,
    validation: tuple[Any, ...] | None = None,
    metrics: Mapping[str, Metric] | None = None,
    clip_norm: float | None = None,
    schedule: Schedule | None = None,
    patience: int | None = None,
    rng: Any = None,
    checkpoint: str | os.PathLike[str] | None = None,
    reduce: Reduce | None = None,
    part: tuple[int, int] | None = None,
    desc: str = "training",
) -> History:
    """Train a model: update its parameters in place, batch by batch.

    The loss and the metrics of an epoch are means over its batches, weighted by the number of samples in each. Even if a loss
    leaves out elements (`ignore_index`), every sample has the same weight. `lengths` are given to the model, not to the loss: a
    loss with a target for every step must leave out what lies past the ends of samples, for example by `ignore_index`.

    Parameters
    ----------
    model : Module
        A `Sequential`, or anything else with `params`, a call and `record`.
    loss : callable
        ``value, gradient = loss(predictions, targets)``, like `mean_squared_error`.
    optimizer : Optimizer
        One that updates exactly ``model.params``.
    x, y : array_like
        The inputs and the targets of all N samples. They may be memory-mapped arrays (``np.load(file, mmap_mode="r")``), of
        which one batch is copied at a time. Views, such as transposed arrays, are fine.
    lengths : (N,) array_like of int, optional
        The number of steps of each sample.
    batch_axes : pair of int
        Which axis of x and which axis of y counts samples. (1, 0): x is (T, N, ...) and y (N, ...). (1, 1): x and y are
        (T, N, ...), with a target for each step. (0, 0): x and y are (N, ...), for a model with batch_first.
    epochs : int
        How many epochs in all, including those of a checkpoint that is resumed.
    batch_size : int
        How many samples a batch has; the last one of an epoch may have fewer.
    shuffle : bool
        Whether each epoch takes the samples in a new random order.
    validation : (x, y) or (x, y, lengths), optional
        Data on which loss and metrics are computed after each epoch.
    metrics : dict of str to callable, optional
        ``value = metric(predictions, targets)`` by name, computed on the validation data or, if there are none, on the training
        batches, from the predictions before each update.
    clip_norm : float, optional
        The largest 2-norm that all gradients of a step may have together; larger ones are scaled down.
    schedule : StepDecay, CosineDecay, ReduceOnPlateau or similar, optional
        Changes the learning rate from epoch to epoch.
    patience : int, optional
        Stop early when the validation loss (without validation, the training loss) has not fallen for more than so many
        epochs. With `patience` the model ends with the parameters of its best epoch, even if it did not stop early.
    rng : int, numpy.random.Generator or None
        Draws the order of the samples and the dropout. None draws unpredictably.
    checkpoint : path, optional
        A file that is written after each epoch, whole or not at all: a safetensors file if its name ends so, otherwise an
        .npz file. If it exists, training continues from it and computes the same numbers as if it had never stopped. It must
        come from the same model, optimizer, data, batch size and kind of schedule. After Ctrl-C it contains the state after
        the last complete epoch.
    reduce : callable, optional
        Joins several processes, perhaps on several machines, to one training run: ``reduce(means, samples)`` gets a 1-D array
        of means over the samples of this process, most often the gradient, and their number. It must leave in the array the
        means over the samples of all processes, each weighted by its number, which may be 0. docs/many_machines.md has the
        few lines for MPI. Every process gives the same arguments, with a seed or generator for `rng` (its own dropout follows
        from it and `part`), and gets the same history. All begin with the parameters of process 0, which alone writes the
        checkpoint; a checkpoint to resume from must be there for all of them.
    part : (int, int), optional
        With `reduce`: the number of this process, from 0, and how many there are. Of the samples of each batch, and of the
        validation data, it computes every one of so many. `batch_size` is that of all processes together.
    desc : str
        The text of the progress bar.

    Returns
    -------
    history : dict of str to list of float
        One value per epoch under "loss", "lr" and the names of the metrics. With validation, "val_loss" is there too, and the
        metrics have names like "val_accuracy".

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or the checkpoint comes from something else.
    FloatingPointError
        If a loss or a parameter is not finite. The checkpoint then contains the state after the epoch before.

    Examples
    --------
    >>> x, y = np.ones((5, 40, 2), np.float32), np.ones((40, 1), np.float32)  # 40 samples of 5 steps
    >>> model = nn.Sequential(nn.Recurrent(rnnfast.GRU(2, 3), "last"), nn.Dense(3, 1))
    >>> history = nn.fit(model, nn.mean_squared_error, nn.Adam(model.params), x, y, epochs=3)
    >>> sorted(history), len(history["loss"])
    (['loss', 'lr'], 3)
    """
    epochs, batch_size = checks.positive("epochs", epochs), checks.positive("batch_size", batch_size)
    if not optimizer.updates(model.params):
        raise ValueError("optimizer: expected one of exactly model.params, got one that updates other arrays")
    if patience is not None and patience < 0:
        raise checks.wrong_value("patience", "a number >= 0", patience)
    measures, own = _measures(metrics), Part(reduce, part)
    data = samples(x, y, lengths, batch_axes, "x, y")
    held = None
    if validation is not None:
        if len(validation) not in (2, 3):
            raise ValueError(f"validation: expected (x, y) or (x, y, lengths), got {len(validation)} items")
        held_x, held_y, held_lengths = (*validation, None)[:3]
        held = samples(held_x, held_y, held_lengths, batch_axes, "validation")
    if not own.alone:
        for a in model.params.values():
            own.first(a)
    state = _State(model, optimizer, schedule, checks.generator("rng", rng), data, batch_size)
    file = None if checkpoint is None else Path(checkpoint)
    if file is not None and not file.parent.is_dir():
        raise ValueError(f"checkpoint: expected a file in a folder that exists, got {file}")
    if file is not None and file.exists():
        state.load(file)
    if not own.alone:
        own.agree(state.numbers(epochs))
    with progress(epochs * -(-data.number // batch_size), desc, shown=own.number == 0) as bar:
        bar.update(state.epochs * -(-data.number // batch_size))
        while state.epochs < epochs and not (patience is not None and state.waited > patience):
            order = state.rng.permutation(data.number) if shuffle else np.arange(data.number)
            draws = state.rng if own.alone else np.random.default_rng([state.drawn(), state.epochs, own.number])
            means = _Means(measures if held is None else {})
            for batch in batches(order, batch_size):
                rows = own.of(batch)
                if len(rows):
                    xb, yb, lb = data.take(rows, batch)
                    predicted, tape = model.record(xb, lengths=lb, rng=draws)
                    value, gradient = loss(predicted, yb)
                    if own.alone:  # else the others would wait for this process: all see the mean at the end of the epoch
                        _finite("loss", value, state)
                    means.add(value, predicted, yb, len(rows))
                    flat = optimizer.flatten(tape.backward(gradient, need_x=False).params)
                else:
                    flat = optimizer.flatten({name: np.zeros_like(a) for name, a in model.params.items()})
                own.mean(flat, len(rows))
                if clip_norm is not None:
                    clip_grad_norm({"": flat}, clip_norm)
                optimizer.step(flat)
                bar.update()
            found = means.over(own)
            _finite("loss", found["loss"], state)
            row = {"loss": found.pop("loss"), "lr": optimizer.lr, **found}
            if held is not None:
                found = _evaluate(model, loss, held, measures, batch_size, own)
                _finite("validation loss", found["loss"], state)
                row.update((f"val_{name}", value) for name, value in found.items())
            for name, a in model.params.items():
                _finite(name, a.sum(), state)
            state.finish(row, row.get("val_loss", row["loss"]))
            bar.note(", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "lr"))
            if file is not None and own.number == 0:
                state.save(file)
    if patience is not None:
        state.restore_best()
    optimizer.lr = state.first_lr  # for another fit
    return state.history


def _finite(name: str, value: Any, state: _State) -> None:
    if not np.isfinite(value):
        raise FloatingPointError(f"{name}: expected finite values, got {value} in epoch {state.epochs + 1}")


def _measures(metrics: Mapping[str, Metric] | None) -> Mapping[str, Metric]:
    if metrics and {"loss", "lr"} & metrics.keys():
        raise ValueError('metrics: expected names other than "loss" and "lr", which the history has already')
    return metrics or {}


def evaluate(
    model: Module,
    loss: Loss,
    x: Any,
    y: Any,
    *,
    lengths: Any = None,
    batch_axes: tuple[int, int] = (1, 0),
    metrics: Mapping[str, Metric] | None = None,
    batch_size: int = 256,
) -> dict[str, float]:
    """The loss and the metrics over all samples, without dropout.

    Parameters
    ----------
    model, loss, x, y, lengths, batch_axes, metrics
        As in `fit`.
    batch_size : int
        How many samples are computed at a time.

    Returns
    -------
    dict of str to float
        The value under "loss", and that of each metric under its name.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.

    Examples
    --------
    >>> model = nn.Dense(2, 1)
    >>> x, y = np.ones((40, 2), np.float32), np.ones((40, 1), np.float32)
    >>> found = nn.evaluate(model, nn.mean_squared_error, x, y, batch_axes=(0, 0), metrics={"error": nn.mean_absolute_error})
    >>> list(found)
    ['loss', 'error']
    """
    data = samples(x, y, lengths, batch_axes, "x, y")
    return _evaluate(model, loss, data, _measures(metrics), checks.positive("batch_size", batch_size), Part(None, None))


def _evaluate(
    model: Module, loss: Loss, data: Samples, metrics: Mapping[str, Metric], batch_size: int, part: Part
) -> dict[str, float]:
    means = _Means(metrics)
    for batch in batches(np.arange(data.number), batch_size):
        rows = part.of(batch)
        if len(rows):
            x, y, lengths = data.take(rows, batch)
            predicted = model(x, lengths=lengths)
            means.add(loss(predicted, y)[0], predicted, y, len(rows))
    return means.over(part)


def predict(
    model: Module, x: Any, *, lengths: Any = None, batch_axes: tuple[int, int] = (1, 0), batch_size: int = 256
) -> Array:
    """The model's output for all samples, computed batch by batch.

    Parameters
    ----------
    model : Module
    x : array_like
        The inputs of all N samples.
    lengths : (N,) array_like of int, optional
        The number of steps of each sample.
    batch_axes : pair of int
        Which axis of x and which axis of the output counts samples.
    batch_size : int
        How many samples are computed at a time.

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or the output has another number of samples.

    Examples
    --------
    >>> model = nn.Sequential(rnnfast.GRU(2, 3), nn.Dense(3, 1))
    >>> nn.predict(model, np.ones((5, 40, 2), np.float32), batch_axes=(1, 1)).shape
    (5, 40, 1)
    """
    x = np.asarray(x)
    steps = (
        None
        if lengths is None
        else checks.lengths(lengths, x.shape[1 - batch_axes[0]], x.shape[batch_axes[0]], unbatched=False)
    )
    parts, batch_size = [], checks.positive("batch_size", batch_size)
    for start in range(0, x.shape[batch_axes[0]], batch_size):
        rows = np.arange(start, min(start + batch_size, x.shape[batch_axes[0]]))
        part = model(take(x, rows, batch_axes[0]), lengths=None if steps is None else steps[rows])
        if part.ndim <= batch_axes[1] or part.shape[batch_axes[1]] != len(rows):
            raise ValueError(
                f"batch_axes: expected {len(rows)} samples on axis {batch_axes[1]} of the output, got shape {part.shape}"
            )
        parts.append(part)
    return np.concatenate(parts, axis=batch_axes[1])


class _State:
    """Everything that changes from epoch to epoch, and the file that keeps it."""

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        schedule: Schedule | None,
        rng: np.random.Generator,
        data: Samples,
        batch_size: int,
    ) -> None:
        self.params, self.optimizer, self.schedule, self.rng = model.params, optimizer, schedule, rng
        self.kind: list[Any] = [type(optimizer).__name__, type(schedule).__name__, batch_size, data.fingerprint()]
        self.history: History = {}
        self.epochs, self.waited, self.best = 0, 0, np.inf
        self.first_lr = optimizer.lr
        self.best_params: dict[str, Array] = {name: a.copy() for name, a in self.params.items()}

    def drawn(self) -> int:
        """A number that tells what was drawn from the generator so far."""
        return checksum(self.rng.bit_generator.state)

    def numbers(self, epochs: int) -> dict[str, float]:
        """What must be the same in all processes of a run, under the name of the argument that it comes from."""
        optimizer = self.optimizer
        moments = [float(a.sum()) for a in optimizer.state.values()]
        return {
            "model": checksum([(name, a.shape) for name, a in self.params.items()]),
            "optimizer": checksum(type(optimizer).__name__, optimizer.lr, optimizer.steps, moments),
            "x, y, batch_size or schedule": checksum(self.kind),
            "epochs": epochs,
            "rng (give a seed)": self.drawn(),
            "checkpoint": self.epochs,
        }

    def finish(self, row: dict[str, float], value: float) -> None:
        """An epoch is done: row has its values for the history, `value` is the loss that should fall."""
        for name, number in row.items():
            self.history.setdefault(name, []).append(float(number))
        self.epochs += 1
        self.waited += 1
        if value < self.best:
            self.best, self.waited = float(value), 0
            for name, a in self.params.items():
                self.best_params[name][...] = a
        if self.schedule is not None:
            self.optimizer.lr = self.first_lr * self.schedule(self.epochs, value)

    def restore_best(self) -> None:
        for name, a in self.params.items():
            a[...] = self.best_params[name]

    def _arrays(self) -> dict[str, Array]:
        """The arrays that a file contains, by name: those of model and optimizer themselves, not copies."""
        groups = {"params": self.params, "best": self.best_params, "optimizer": self.optimizer.state}
        return {f"{group}/{name}": a for group, arrays in groups.items() for name, a in arrays.items()}

    def save(self, file: Path) -> None:
        """Writes the file whole or not at all: a run that is killed leaves the file of the epoch before."""
        numbers = {
            "history": self.history,
            "epochs": self.epochs,
            "waited": self.waited,
            "best": self.best,
            "first_lr": self.first_lr,
            "lr": self.optimizer.lr,
            "steps": self.optimizer.steps,
            "schedule": {name: getattr(self.schedule, name) for name in (self.schedule.state if self.schedule else ())},
            "kind": self.kind,
            "rng": self.rng.bit_generator.state,
        }
        container.write(file, numbers, self._arrays())

    def load(self, file: Path) -> None:
        try:
            content = container.read(file)
        except ValueError as error:
            raise ValueError(f"checkpoint: expected a file that fit has written, got {file} ({error})") from None
        numbers, arrays = content.description, self._arrays()
        try:
            checks.one_of("kind", numbers.get("kind"), [self.kind])
            stored = content.arrays({name: (a.shape, a.dtype) for name, a in arrays.items()})
        except ValueError as error:
            expected = "one of this model, optimizer, schedule, data and batch_size"
            raise ValueError(f"checkpoint: expected {expected}, got another in {file} ({error})") from None
        for name, a in arrays.items():
            a[...] = stored[name]
        self.history, self.epochs, self.waited = numbers["history"], numbers["epochs"], numbers["waited"]
        self.best, self.first_lr = numbers["best"], numbers["first_lr"]
        self.optimizer.lr, self.optimizer.steps = numbers["lr"], numbers["steps"]
        if self.schedule is not None:
            vars(self.schedule).update(numbers["schedule"])
            if not self.schedule.state:  # its settings may be others now, more epochs say
                self.optimizer.lr = self.first_lr * self.schedule(self.epochs, np.nan)
        self.rng.bit_generator.state = numbers["rng"]
