"""A sine wave learnt point by point, then drawn on beyond the data by feeding the predictions back.

    python sine.py

SimpleRNN 1 -> 32 and Dense 32 -> 1 read sin at 100 points of [0, 10], each predicts the next. After training the network goes
on by itself: its prediction is its next input, and the state is carried from step to step. Small errors add up in its phase:
with seeds 0, 1, 2 the RMS error of the 100 points is 0.54, 0.05, 0.04.
"""

import common  # isort: skip
import numpy as np

import rnnfast
from rnnfast import nn

STEPS, AHEAD, HIDDEN, LR = 100, 100, 32, 0.01


def data():
    """x (T, 1, 1) and the points one later."""
    wave = np.sin(np.linspace(0, 10, STEPS, dtype=np.float32))[:, None, None]
    return wave[:-1], wave[1:]


def build(seed: int) -> nn.Sequential:
    return nn.Sequential(rnnfast.SimpleRNN(1, HIDDEN, rng=seed), nn.Dense(HIDDEN, 1, rng=seed + 1))


def go_on(model: nn.Sequential, x, steps: int):
    """The points that follow x (T, 1, 1): (steps,)."""
    recurrent, dense = model.layers
    rnn = recurrent.rnn.freeze()
    y, state = rnn(x)
    points = [dense(y[-1])]  # (1, 1)
    for _ in range(steps - 1):
        y_t, state = rnn.step(points[-1], state)
        points.append(dense(y_t))
    return np.concatenate(points)[:, 0]


def main() -> None:
    parser = common.options(__doc__, "sine.png")
    parser.set_defaults(seed=1)
    parser.add_argument("--epochs", type=int, default=1000, help="(default %(default)s)")
    args = parser.parse_args()
    epochs = min(args.epochs, 400) if args.quick else args.epochs
    x, y = data()
    model = build(args.seed)
    history = nn.fit(
        model,
        nn.mean_squared_error,
        nn.Adam(model.params, LR),
        x,
        y,
        batch_axes=(1, 1),
        epochs=epochs,
        rng=args.seed,
        checkpoint=args.checkpoint,
    )
    ahead = go_on(model, np.concatenate([x, y[-1:]]), AHEAD)
    times = np.linspace(0, 10, STEPS)[-1] + 10 / (STEPS - 1) * np.arange(1, AHEAD + 1)
    error = float(np.sqrt(np.mean((ahead - np.sin(times)) ** 2)))
    print(f"loss {history['loss'][-1]:.2e} after {epochs} epochs; {AHEAD} points ahead: RMS error {error:.3f}")
    fig, axes = common.figure(args.plot)
    if fig:
        axes.plot(np.linspace(0, 10, STEPS)[1:], y[:, 0, 0], label="data")
        axes.plot(np.linspace(0, 10, STEPS)[1:], model(x)[:, 0, 0], "--", label="next point")
        axes.plot(times, np.sin(times), color="0.8", label="sin")
        axes.plot(times, ahead, "r--", label="on its own")
        axes.legend(loc="lower left", ncols=4)
        common.save(fig, args.plot)


if __name__ == "__main__":
    main()
