"""Forecasts of a real series from windows of the past, compared honestly with forecasts that know nothing.

    python forecast.py                                     # hourly temperatures of San Francisco
    python forecast.py --data stocks                       # monthly prices of four companies
    python forecast.py --data walk                         # a random walk: nothing can beat its last value
    python forecast.py --csv FILE --column NAME            # your own
    python forecast.py --noisy-sine                        # SimpleRNN, LSTM, GRU and both directions, one table

Three stacked LSTM layers of 50 with dropout 0.2 read the last 60 values, Dense gives the next. What they read are differences
to the value one season (or --lag steps) before, scaled by what is known of the training part alone: what is left to learn is
what the season does not tell. The last fifth, in order of time, is for the test alone. For how many epochs to
learn is decided on the fifth of the rest before it; then a new network learns from all that is known for so many.
"""

import common  # isort: skip
import csv
from itertools import pairwise

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


def temperatures():
    """(8759,) hourly temperatures of one year, the steps of a season (a day), and the lag of the differences."""
    from vega_datasets import data

    return data.sf_temps()["temp"].to_numpy(np.float64), 24, 24


def stocks():
    """(N,) monthly prices of four companies one after the other, each relative to its first."""
    from vega_datasets import data

    table = data.stocks()
    series = [rows["price"].to_numpy(np.float64) for name, rows in table.groupby("symbol") if name != "GOOG"]
    return np.concatenate([prices / prices[0] for prices in series]), 12, 1


def walk(seed: int):
    return np.cumsum(np.random.default_rng(seed).standard_normal(4000)), 24, 1


def column(file: str, name: str):
    with open(file, newline="", encoding="utf-8") as stream:
        return np.array([float(row[name]) for row in csv.DictReader(stream)]), 24, 1


def windows(series, n: int, lag: int, share: float = 0.2):
    """Scaled windows of the differences at `lag` (0: of the values), in order of time, to learn, to decide when to stop (the
    last fifth of what is known), and to test: (x (n, N, 1), y (N, 1)) each, and the scaler. A window may begin in the part
    before, its target never lies there."""
    series = series[lag:] - series[:-lag] if lag else series
    known, _ = nn.time_split(series, share)
    learnt, _ = nn.time_split(known, share)
    scale = nn.MinMaxScaler(learnt)
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
    rng = np.random.default_rng(args.seed)
    series = np.sin(np.arange(1500) / 5) + 0.1 * rng.standard_normal(1500)
    training, validation, test, scale = windows(series, 10, 0)
    print("| layer | RMS error | parameters |\n| --- | --- | --- |")
    for name, (make, both) in VARIANTS.items():
        epochs = 3 if args.quick else args.epochs
        model, _ = learn_all(
            lambda make=make, both=both: build(make, both, 32, 1, args.seed), training, validation, epochs, args, name
        )
        error = rms(scale.inverse(nn.predict(model, test[0])), scale.inverse(test[1]))
        print(f"| {name} | {error:.3f} | {sum(a.size for a in model.params.values())} |")
    truth = scale.inverse(test[1])[:, 0]
    print(f"| last value | {rms(truth[1:], truth[:-1]):.3f} | 0 |\n| the noise itself | 0.100 | |")


def main() -> None:
    parser = common.options(__doc__, "forecast.png")
    parser.add_argument(
        "--data", choices=("temperatures", "stocks", "walk"), default="temperatures", help="(default %(default)s)"
    )
    parser.add_argument("--csv", metavar="FILE", help="a file of your own, with a line of column names")
    parser.add_argument("--column", metavar="NAME", help="its column to forecast")
    parser.add_argument("--lag", type=int, help="of the differences that are learnt; 0: the values (default: a season, or 1)")
    parser.add_argument("--noisy-sine", action="store_true", help="compare kinds of layers on a noisy sine")
    parser.add_argument("--epochs", type=int, default=40, help="at most (default %(default)s)")
    args = parser.parse_args()
    if bool(args.csv) != bool(args.column):
        parser.error("--csv and --column: expected both or neither")
    if args.noisy_sine:
        args.checkpoint = None
        return noisy_sine(args)
    if args.csv:
        series, season, lag = column(args.csv, args.column)
    else:
        series, season, lag = {"temperatures": temperatures, "stocks": stocks, "walk": lambda: walk(args.seed)}[args.data]()
    if args.quick:
        series = series[:1500]
    lag = lag if args.lag is None else args.lag
    training, validation, test, scale = windows(series, WINDOW, lag)
    epochs = 2 if args.quick else args.epochs
    model, best = learn_all(lambda: build(rnnfast.LSTM, False, HIDDEN, LAYERS, args.seed), training, validation, epochs, args)
    truth, found = series[-len(test[1]) :], scale.inverse(nn.predict(model, test[0]))[:, 0]
    if lag:
        found += series[-len(truth) - lag : -lag]
    known = series[: len(series) - 1]
    rivals = {
        "last value": known[-len(truth) :],
        f"value {season} steps ago": series[-len(truth) - season : -season],
    }
    windows_learnt = training[0].shape[1] + validation[0].shape[1]
    print(f"{best} epochs, {windows_learnt} windows learnt, {len(truth)} forecast, one step ahead")
    errors = {"LSTM": rms(found, truth), **{name: rms(values, truth) for name, values in rivals.items()}}
    for name, error in errors.items():
        print(f"RMS error {error:.4g}  {name}")
    best = [name for name, error in errors.items() if error <= 1.01 * min(errors.values())]
    print(f"Best: {' and '.join(best)}{', which is chance' if len(best) > 1 else ''}")
    if args.data == "walk" and not args.csv:
        print("A random walk's next step is independent of its past: its last value is the best forecast there is.")
    fig, axes = common.figure(args.plot)
    if fig:
        last = slice(-7 * season, None)
        axes.plot(truth[last], label="truth")
        axes.plot(found[last], "--", label="LSTM, one step ahead")
        axes.legend()
        common.save(fig, args.plot)


if __name__ == "__main__":
    main()
