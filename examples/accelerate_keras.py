"""Train a Keras model as it is, then the same model after rnnfast.keras.enable(), and compare losses and times.

    python accelerate_keras.py

The model is Bidirectional(LSTM), GRU and Dense, on Keras's torch backend. It learns the adding problem: each sequence has
random numbers, two of which are marked, and the answer is their sum (Hochreiter & Schmidhuber 1997). Sequences differ in
length; a Masking layer leaves out the padding. Always answering 1 would have a mean squared error of 0.167.
"""

import common  # isort: skip
import os
import time

import numpy as np

TRAINING, TEST, LONGEST, UNITS = 2000, 500, 20, 32


def data(samples: int, rng):
    """x (samples, LONGEST, 2): a number and its mark; -1 twice is padding. The sums (samples, 1)."""
    x = np.stack([rng.random((samples, LONGEST)), np.zeros((samples, LONGEST))], axis=2)
    lengths = rng.integers(LONGEST // 2, LONGEST + 1, samples)
    sums = np.empty((samples, 1))
    for i, length in enumerate(lengths):
        marked = rng.choice(length, 2, replace=False)
        x[i, marked, 1] = 1
        sums[i] = x[i, marked, 0].sum()
        x[i, length:] = -1
    return x.astype(np.float32), sums.astype(np.float32)


def build(keras, seed: int):
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((None, 2)),
            layers.Masking(-1.0),
            layers.Bidirectional(layers.LSTM(UNITS, return_sequences=True)),
            layers.GRU(UNITS),
            layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(0.005, clipnorm=1.0), "mse")
    return model


def options() -> common.Parser:
    parser = common.options(__doc__, checkpoint=None)
    parser.add_argument("--epochs", type=common.at_least(1), default=8, help="passes over the data (default %(default)s)")
    return parser


def main(args) -> None:
    os.environ["KERAS_BACKEND"] = "torch"  # Keras reads it when it is imported
    import keras
    import torch

    import rnnfast.keras

    torch.set_num_threads(rnnfast.get_num_threads())
    rng = np.random.default_rng(args.seed)
    (x, y), test = data(200 if args.quick else TRAINING, rng), data(TEST, rng)
    seconds = {}
    for name in ("Keras", "rnnfast"):
        if name == "rnnfast":
            rnnfast.keras.enable()
        model = build(keras, args.seed)
        model.predict(x[:2], verbose=0)  # what is built at the first call is not timed
        began = time.perf_counter()
        model.fit(x, y, batch_size=50, epochs=1 if args.quick else args.epochs, verbose=0)
        seconds[name] = time.perf_counter() - began
        loss = model.evaluate(*test, batch_size=TEST, verbose=0)
        print(f"{name}: {seconds[name]:.1f} s, mean squared error {loss:.4f} on the test sequences")
    print(f"rnnfast is {seconds['Keras'] / seconds['rnnfast']:.1f} times as fast. What it computed:")
    print(rnnfast.keras.report())


if __name__ == "__main__":
    common.run(options(), main)
