"""Why LSTM and GRU have gates: how far back a gradient reaches, and what each kind of network learns to remember.

    python memory.py

The first part takes untrained networks and measures the gradient of a loss L with respect to the state h of 1 to 99 steps
before. In a SimpleRNN this gradient vanishes or explodes with the distance, depending on the largest eigenvalue of the
recurrent weights; an LSTM with a large bias of its forget gate, which makes it forget little, keeps its size.

The second part trains networks on the adding problem: two numbers in a long sequence are marked, and their sum is to be told at
the end. A network that has remembered nothing can do no better than to answer 1 always; its mean squared error is then 0.167.

The third part shows why gradients are clipped: a SimpleRNN with exploding gradients, trained with and without.
"""

import common  # isort: skip
import numpy as np

import rnnfast
from rnnfast import nn
from rnnfast.progress import progress

T, H = 100, 64


def reach(net, x):
    """Norm of dL/dh_t by distance, L a random sum of the last h: sequences cut in two at t give it as g.state."""
    weights = np.random.default_rng(1).standard_normal((1, 1, H)).astype(np.float32)
    y, _ = net(x)
    norms = []
    for distance in range(1, T):
        h = y[T - distance - 1][None]
        state = (h, cells(net, x[: T - distance])) if isinstance(net, rnnfast.LSTM) else h
        _, _, tape = net.record(x[T - distance :], state)
        g = tape.backward(None, (weights, None) if isinstance(net, rnnfast.LSTM) else weights, need_x=False)
        # of an LSTM both parts of the state carry gradients
        parts = g.state if isinstance(g.state, tuple) else (g.state,)
        norms.append(np.sqrt(sum(float(np.vdot(part, part)) for part in parts)))
    return np.array(norms) / norms[0]


def cells(net, x):
    return net(x)[1][1]


def networks(seed: int):
    """Untrained ones, by name: recurrent weights of three sizes, gates as drawn, and gates that forget little."""
    nets = {}
    for radius in (0.7, 1.0, 1.4):
        net = rnnfast.SimpleRNN(4, H, nonlinearity="identity" if radius > 1 else "tanh", rng=seed)
        w = net.params["weight_hh_l0"]
        w *= radius / np.abs(np.linalg.eigvals(w)).max()
        nets[f"SimpleRNN, largest eigenvalue {radius}" + (", no tanh" if radius > 1 else "")] = net
    nets["GRU"] = rnnfast.GRU(4, H, rng=seed)
    nets["LSTM"] = rnnfast.LSTM(4, H, rng=seed)
    nets["LSTM, forget bias 3"] = LSTM(4, H, seed, 3)
    return nets


def LSTM(inputs: int, hidden: int, rng, bias: float = 1):
    """One with this bias of its forget gate."""
    net = rnnfast.LSTM(inputs, hidden, rng=rng)
    net.params["bias_ih_l0"][hidden : 2 * hidden] = bias  # gates i f g o
    return net


def adding(rng, steps: int, batch: int):
    """x (steps, batch, 2): numbers in 0 .. 1 and two marks; y (batch, 1): the sum of the marked."""
    x = np.zeros((steps, batch, 2), np.float32)
    x[..., 0] = rng.random((steps, batch))
    columns = np.arange(batch)
    first, second = rng.integers(0, steps // 2, batch), rng.integers(steps // 2, steps, batch)
    x[first, columns, 1] = x[second, columns, 1] = 1
    return x, (x[..., 0] * x[..., 1]).sum(axis=0)[:, None]


def growing(inputs: int, hidden: int, rng):
    """A SimpleRNN without bounds whose state grows by 3 % a step, and its gradients with it."""
    net = rnnfast.SimpleRNN(inputs, hidden, nonlinearity="relu", rng=rng)
    net.params["weight_hh_l0"][...] = 1.03 * np.eye(hidden)
    return net


def learn(make, steps: int, updates: int, seed: int, clip: float | None = 1.0, optimizer=nn.Adam):
    """Mean squared errors by update, until they explode, and the largest norm of the gradients of an update."""
    model = nn.Sequential(nn.Recurrent(make(2, H, rng=seed), "last"), nn.Dense(H, 1, rng=seed + 1))
    descent, rng, errors, largest = optimizer(model.params, 3e-3), np.random.default_rng(seed), [], 0.0
    with progress(updates, f"{make.__name__} {steps}") as bar:
        for _ in range(updates):
            x, y = adding(rng, steps, 32)
            predicted, tape = model.record(x)
            error, gradient = nn.mean_squared_error(predicted, y)
            grads = tape.backward(gradient, need_x=False).params
            largest = max(largest, nn.clip_grad_norm(grads, np.inf if clip is None else clip))
            descent.step(grads)
            errors.append(error)
            if not error < 1e6:
                break
            bar.update()
    return np.array(errors), largest


def draw_errors(axes, curves: dict, steps: int) -> None:
    """Those of curves, by name and length of sequences, that are of this length: at most four."""
    axes.axhline(1 / 6, color="black", linestyle=":", linewidth=1, label="nothing remembered: always 1")
    # Networks that have learnt nothing have the same error: each line is wide enough to be seen below the next.
    found = {name: errors for (name, length), errors in curves.items() if length == steps}
    styles = ((12, 0.25), (8, 0.4), (3, 1), (1, 1))[-len(found) :]
    for (name, errors), (width, alpha) in zip(found.items(), styles, strict=True):
        axes.plot(
            np.convolve(errors, np.ones(25) / 25, "valid"), label=name, linewidth=width, alpha=alpha, solid_capstyle="butt"
        )
    axes.set(
        title=f"The adding problem, {steps} steps",
        xlabel="updates of the parameters",
        ylabel="mean squared error\n(mean of 25 updates)",
    )


def options() -> common.Parser:
    return common.options(__doc__, "memory.png", checkpoint=None)


def main(args) -> None:
    fig, axes = common.figure(args.plot, 10, 7.5, rows=2)
    x = np.random.default_rng(args.seed).standard_normal((T, 1, 4)).astype(np.float32) * 0.1
    found = {name: reach(net, x) for name, net in networks(args.seed).items()}
    print("Size (norm) of the gradient dL/dh some steps before the loss, divided by its size 1 step before:")
    print("| untrained network | 10 steps | 50 steps | 99 steps |\n| --- | --- | --- | --- |")
    for name, norms in found.items():
        print(f"| {name} | {norms[9]:.1e} | {norms[49]:.1e} | {norms[98]:.1e} |")

    lengths, updates = ((10, 30), 150) if args.quick else ((10, 50, 100), 1200)
    print(
        f"\nThe adding problem: mean squared error after {updates} updates (0.167: nothing remembered), by length of sequence:"
    )
    print("| trained network | " + " | ".join(f"{n} steps" for n in lengths) + " |\n" + "| --- " * (len(lengths) + 1) + "|")
    curves = {}
    for make in (rnnfast.SimpleRNN, rnnfast.GRU, LSTM):
        for steps in lengths:
            curves[make.__name__, steps] = learn(make, steps, updates, args.seed)[0]
        last = " | ".join(f"{curves[make.__name__, steps][-50:].mean():.4f}" for steps in lengths)
        print(f"| {make.__name__} | {last} |")
    print(f"\nThe same, {lengths[-1]} steps, by a SimpleRNN whose state grows by 3 % a step, with plain gradient descent:")
    for name, clip in (("gradients not clipped", None), ("gradients clipped to a norm of 1", 1.0)):
        errors, norm = learn(growing, lengths[-1], updates, args.seed, clip, nn.SGD)
        end = "diverged" if len(errors) < updates else f"error {errors[-50:].mean():.3f}"
        print(f"{name}: largest norm before clipping {norm:.1e}; {end} after {len(errors)} updates")
    if fig:
        for name, norms in found.items():
            axes[0].semilogy(np.arange(1, T), norms, label=name)
        axes[0].set(
            title="How far back the gradient of an untrained network reaches",
            xlabel="distance from the loss (time steps)",
            ylabel="norm of dL/dh\n(1 at a distance of 1 step)",
        )
        draw_errors(axes[1], curves, lengths[-1])
        common.save(fig, args.plot)


if __name__ == "__main__":
    common.run(options(), main)
