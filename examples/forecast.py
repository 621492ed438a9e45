"""Forecast a series one step ahead with an LSTM, and compare the errors with those of simple rules that learn nothing.

    python forecast.py                                     # hourly temperatures of San Francisco
    python forecast.py --data stocks                       # monthly prices of four companies
    python forecast.py --data walk                         # a random walk: nothing can beat its last value
    python forecast.py --csv FILE --column NAME            # a series of your own
    python forecast.py --noisy-sine                        # SimpleRNN, LSTM and GRU compared on a noisy sine, as a table

Temperatures and prices are files of the package vega_datasets. The temperatures, in degrees Fahrenheit, come from NOAA and are
dated 2010, but one day's highest differs from the next day's by 0.4 degrees at most: they must be averages of many years, far
easier to forecast than the weather of one.

Three LSTM layers of 50 with dropout 0.2 read the last 60 values, and a Dense layer gives the next one. They read and give not
the values themselves but differences to the value --lag steps before. For the temperatures that is a day: what is the same
every day is then gone, and the network learns only in what one day differs from the day before.

The last fifth of the series is used for nothing but the comparison at the end. The number of epochs is found with the last
fifth of the rest held out; then a new network learns from the whole rest for as many epochs.
"""

import common  # isort: skip
import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np

import rnnfast
from rnnfast import nn

WINDOW, HIDDEN, LAYERS, DROPOUT = 60, 50, 3, 0.2
VARIANTS = {
    "SimpleRNN": (rnnfast.SimpleRNN, False),
    "LSTM": (rnnfast.LSTM, False),
    "GRU": (rnnfast.GRU, False),
    "LSTM, both directions": (rnnfast.LSTM, True),
}


class Series(NamedTuple):
    """values (N,), one every `step`; what they are, where they come from, their unit; steps of a season; lag of the
    differences to learn."""

    values: np.ndarray
    name: str
    source: str
    unit: str
    step: str
    season: int
    lag: int


def temperatures(seed: int) -> Series:
    from vega_datasets import data

    values = data.sf_temps()["temp"].to_numpy(np.float64)
    source = "averages of many years, by NOAA, from the package vega_datasets"
    return Series(values, "Hourly temperatures of San Francisco", source, "°F", "hour", 24, 24)


def stocks(seed: int) -> Series:
    from vega_datasets import data

    table = data.stocks()
    prices = [rows["price"].to_numpy(np.float64) for name, rows in table.groupby("symbol") if name != "GOOG"]
    values = np.concatenate([p / p[0] for p in prices])
    source = "2000 to 2010, one company after the other, from the package vega_datasets"
    return Series(values, "Monthly prices of four companies", source, "times the first price", "month", 12, 1)


def walk(seed: int) -> Series:
    values = np.cumsum(np.random.default_rng(seed).standard_normal(4000))
    return Series(
        values, "A random walk", "the sum of independent random steps", "standard deviations of a step", "step", 24, 1
    )


def column(file: str, name: str) -> Series:
    def finite(text: str) -> float:
        if not math.isfinite(value := float(text)):
            raise ValueError(f"expected a finite number, got {text}")
        return value

    values = np.array([value for (value,) in common.rows(file, {name: finite})])
    return Series(values, f"Column {name}", f"from the file {file}", f"unit of {name}", "row", 24, 1)


DATA = {"temperatures": temperatures, "stocks": stocks, "walk": walk}


def windows(series, n: int, lag: int, share: float = 0.2):
    """Scaled windows of the differences at `lag` (0: of the values), in order of time, to learn, to decide when to stop (the
    last fifth of what is known), and to test: (x (n, N, 1), y (N, 1)) each, and the scaler. A window may begin in the part
    before, its target never lies there."""
    series = series[lag:] - series[:-lag] if lag else series
    known, _ = nn.time_split(series, share)
    learnt, _ = nn.time_split(known, share)
    if len(learnt) <= n:
        raise ValueError(f"the series: expected {n + 1} values or more to learn from beside those held out, got {len(learnt)}")
    # Most differences are much smaller than the largest: from 0 to 1 they lie close together, and the error is 10 % larger.
    scale = nn.MinMaxScaler(learnt, -3, 3)
    X, y = nn.sliding_windows(scale(series).astype(np.float32), n)
    x, y = X.T[..., None], y[:, None]  # time-major
    ends = (0, len(learnt) - n, len(known) - n, len(y))
    return *((x[:, a:b], y[a:b]) for a, b in pairwise(ends)), scale


def build(make, bidirectional: bool, hidden: int, layers: int, seed: int) -> nn.Sequential:
    rnn = make(1, hidden, layers, dropout=DROPOUT if layers > 1 else 0.0, bidirectional=bidirectional, rng=seed)
    return nn.Sequential(nn.Recurrent(rnn, "last"), nn.Dense(hidden * (2 if bidirectional else 1), 1, rng=seed + 1))


def learn(model, training, epochs: int, args, validation=None, checkpoint=None, desc: str = "training"):
    return nn.fit(
        model,
        nn.mean_squared_error,
        nn.Adam(model.params, 3e-3),
        *training,
        validation=validation,
        epochs=epochs,
        batch_size=32,
        schedule=nn.ReduceOnPlateau(0.5, patience=3),
        patience=10 if validation else None,
        rng=args.seed,
        checkpoint=checkpoint,
        desc=desc,
    )


def learn_all(make, training, validation, epochs: int, args, desc: str = "training"):
    """The model that `make` gives, learnt from both parts for as many epochs as were best for the second; how many."""
    history = learn(make(), training, epochs, args, validation, args.checkpoint, desc)
    best = int(np.argmin(history["val_loss"])) + 1
    model, known = make(), (np.concatenate([training[0], validation[0]], axis=1), np.concatenate([training[1], validation[1]]))
    learn(model, known, best, args, desc=f"{desc}, all")
    return model, best


def rms(a, b) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))


def noisy_sine(args) -> None:
    """Windows of 10 of a noisy sine: every kind of layer, one table."""
    if args.checkpoint:
        raise ValueError("--checkpoint: expected a single training, got --noisy-sine, which trains eight networks")
    rng = np.random.default_rng(args.seed)
    series = np.sin(np.arange(1500) / 5) + 0.1 * rng.standard_normal(1500)
    training, validation, test, scale = windows(series, 10, 0)
    print(
        "A sine with noise of standard deviation 0.1, each value forecast from the 10 before it. The noise cannot be forecast,"
    )
    print("so the least error is 0.1. The first four forecasts are learnt, the fifth repeats the value before.\n")
    print("| forecast by | RMS error | parameters |\n| --- | --- | --- |")
    for name, (make, both) in VARIANTS.items():
        epochs = 3 if args.quick else args.epochs
        model, _ = learn_all(
            lambda make=make, both=both: build(make, both, 32, 1, args.seed), training, validation, epochs, args, name
        )
        error = rms(scale.inverse(nn.predict(model, test[0])), scale.inverse(test[1]))
        print(f"| {name} | {error:.3f} | {sum(a.size for a in model.params.values())} |")
    truth = scale.inverse(test[1])[:, 0]
    print(f"| last value | {rms(truth[1:], truth[:-1]):.3f} | 0 |")


def options() -> common.Parser:
    parser = common.options(__doc__, "forecast.png")
    parser.add_argument("--data", choices=DATA, default="temperatures", help="the series (default %(default)s)")
    parser.add_argument("--csv", metavar="FILE", help="a file of your own instead, with a line of column names")
    parser.add_argument("--column", metavar="NAME", help="its column to forecast")
    parser.add_argument(
        "--lag",
        type=common.at_least(0),
        help="learn the differences to the values so many steps before; 0: the values themselves (default: 24 for "
        "temperatures, otherwise 1)",
    )
    parser.add_argument("--noisy-sine", action="store_true", help="compare kinds of layers on a noisy sine; no picture")
    parser.add_argument("--epochs", type=common.at_least(1), default=40, help="most passes over the data (default %(default)s)")
    return parser


def main(args) -> None:
    if bool(args.csv) != bool(args.column):
        raise ValueError("--csv and --column: expected both or neither")
    if args.noisy_sine:
        return noisy_sine(args)
    fig, axes = common.figure(args.plot)
    data = column(args.csv, args.column) if args.csv else DATA[args.data](args.seed)
    series, step, season = data.values[: 1500 if args.quick else None], data.step, data.season
    lag = data.lag if args.lag is None else args.lag
    training, validation, test, scale = windows(series, WINDOW, lag)
    print(f"{data.name}: {len(series)} values, {data.source}")
    epochs = 2 if args.quick else args.epochs
    model, best = learn_all(lambda: build(rnnfast.LSTM, False, HIDDEN, LAYERS, args.seed), training, validation, epochs, args)
    truth, found = series[-len(test[1]) :], scale.inverse(nn.predict(model, test[0]))[:, 0]

    def before(steps: int):
        """The values so many steps before those that are forecast."""
        return series[-len(truth) - steps : -steps]

    if lag:
        found += before(lag)
    rivals = {
        "last value": before(1),
        f"value {season} {step}s before": before(season),
        f"value {season} {step}s before, plus the last known change over {season} {step}s": before(season)
        + before(1)
        - before(season + 1),
    }
    learnt = training[0].shape[1] + validation[0].shape[1]
    print(f"The LSTM learnt from {learnt} windows of {WINDOW} {step}s in {best} epochs.")
    print(f"Root mean square (RMS) errors of forecasts of the last {len(truth)} {step}s, each one step ahead ({data.unit}):")
    errors = {"LSTM": rms(found, truth), **{name: rms(values, truth) for name, values in rivals.items()}}
    for name, error in errors.items():
        print(f"{error:8.4g}  {name}")
    winners = [name for name, error in errors.items() if error <= 1.01 * min(errors.values())]
    print(f"Best: {' and '.join(winners)}{', whose errors differ by less than 1 %' if len(winners) > 1 else ''}")
    if args.data == "walk" and not args.csv:
        print("The next step of a random walk does not depend on its past, so no forecast is better than the last value.")
    if fig:
        shown = min(7 * season, len(truth))
        axes.plot(truth[-shown:], color="0.75", linewidth=5, label="truth")
        axes.plot(found[-shown:], label="LSTM, one step ahead")
        axes.set(
            title=f"{data.name}: the last {shown} {step}s".replace("$", r"\$"),
            xlabel=f"time ({step}s)",
            ylabel=f"value ({data.unit})".replace("$", r"\$"),
        )
        common.save(fig, args.plot)


if __name__ == "__main__":
    common.run(options(), main)
