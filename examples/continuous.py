"""Predict a swinging quantity that is observed at irregular times: cells that know how much time has passed.

    python continuous.py

Each sequence is a damped oscillation whose frequency, phase, damping and size are unknown, observed 40 times; the gaps between
observations are random. A network reads the last value and the gap that follows it, and predicts the next value. Half a swing
may lie between two observations, so the gaps matter as much as the values.

Two cells take the gap as an input dt of their formula: CfC (Hasani et al. 2022), and one made for this task, whose memory turns
like the hand of a clock, at a speed that the network computes. LSTM and GRU read the gap as a second number of x; one GRU does
not get it at all. All have at most 13,000 parameters, the same data, optimiser and number of epochs, and each the learning rate
that was the best for it of 0.01, 0.02, 0.03 and 0.05, on other data than those of the table. On those the new cell was chosen
from a few, too.
"""

import common  # isort: skip
import numpy as np

import rnnfast
from rnnfast import nn, ops, zoo

OBSERVED, PARAMETERS = 40, 13_000


@rnnfast.cell(gates="i g k w o", states="h p q", inputs="dt")
def Turning(x, U, h, p, q, dt):
    """Gate i writes what was observed to the points (p, q); then each of them turns by the angle w dt."""
    i, o = ops.sigmoid(x.i + U.i @ h), ops.sigmoid(x.o + U.o @ h)
    p, q = ops.lerp(p, np.tanh(x.g + U.g @ h), i), ops.lerp(q, np.tanh(x.k + U.k @ h), i)
    angle = dt * (x.w + U.w @ h)
    p, q = np.cos(angle) * p - np.sin(angle) * q, np.sin(angle) * p + np.cos(angle) * q
    return o * p, p, q


def swings(rng, number: int):
    """times and values (OBSERVED, number) of damped oscillations."""
    times = rng.exponential(0.5, (OBSERVED, number)).cumsum(axis=0)
    frequency, phase = rng.uniform(0.5, 3, number), rng.uniform(0, 2 * np.pi, number)
    damping, size = rng.uniform(0, 0.1, number), rng.uniform(0.5, 1.5, number)
    return times, size * np.exp(-damping * times) * np.sin(frequency * times + phase)


def samples(times, values):
    """x (OBSERVED - 1, N, 2): a value and the gap that follows it; y (OBSERVED - 1, N, 1): the next value."""
    x = np.stack([values[:-1], np.diff(times, axis=0)], axis=-1)
    return x.astype(np.float32), values[1:, :, None].astype(np.float32)


class Blind(nn.Recurrent):
    """A layer that does not read the gaps."""

    def __call__(self, x, **others):
        return super().__call__(x[..., :1], **others)

    def record(self, x, **others):
        return super().record(x[..., :1], **others)


# name: kind of layer, what makes it a part of a chain, numbers that it reads as x (a cell's input dt is the last column),
# learning rate
NETWORKS = {
    "GRU without gaps": (rnnfast.GRU, Blind, 1, 0.01),
    "LSTM, gap in x": (rnnfast.LSTM, nn.Recurrent, 2, 0.05),
    "GRU, gap in x": (rnnfast.GRU, nn.Recurrent, 2, 0.03),
    "CfC, input dt": (zoo.CfC, nn.Recurrent, 1, 0.02),
    "Turning, input dt": (Turning, nn.Recurrent, 1, 0.05),
}


def build(make, part, inputs: int, seed: int) -> nn.Sequential:
    """As wide as PARAMETERS allows."""
    hidden = max(H for H in range(1, 200) if make(inputs, H).num_params <= PARAMETERS)
    return nn.Sequential(part(make(inputs, hidden, rng=seed)), nn.Dense(hidden, 1, rng=seed + 1))


def rms(squares) -> str:
    """Of all steps and of the last 10."""
    return f"{np.sqrt(squares.mean()):.3f} | {np.sqrt(squares[-10:].mean()):.3f}"


def options() -> common.Parser:
    return common.options(__doc__, "continuous.png", checkpoint=None)


def main(args) -> None:
    fig, axes = common.figure(args.plot)
    rng = np.random.default_rng(args.seed)
    training = samples(*swings(rng, 500 if args.quick else 4000))
    x, y = samples(*swings(rng, 1000))
    epochs, error = 3 if args.quick else 20, {}
    print("Root mean square (RMS) errors of the next value, 1000 held-out sequences:")
    print("| network | units | parameters | all steps | last 10 steps |\n| --- | --- | --- | --- | --- |")
    for name, (make, part, inputs, lr) in NETWORKS.items():
        model = build(make, part, inputs, args.seed)
        nn.fit(
            model,
            nn.mean_squared_error,
            nn.Adam(model.params, lr),
            *training,
            batch_axes=(1, 1),
            epochs=epochs,
            batch_size=64,
            clip_norm=1.0,
            schedule=nn.CosineDecay(epochs, 0.1),
            rng=args.seed,
            desc=name,
        )
        error[name], recurrent = (model(x) - y) ** 2, model.layers[0]
        print(f"| {name} | {recurrent.rnn.hidden_size} | {recurrent.num_params} | {rms(error[name])} |")
    print(f"| none: the value before | - | - | {rms((x[..., :1] - y) ** 2)} |")
    if fig:
        for name, squares in error.items():
            axes.semilogy(np.arange(2, OBSERVED + 1), np.sqrt(squares.mean(axis=(1, 2))), label=name)
        axes.set(
            title="Oscillations observed at irregular times",
            xlabel="number of the predicted observation",
            ylabel="RMS error (no unit)",
        )
        common.save(fig, args.plot)


if __name__ == "__main__":
    common.run(options(), main)
