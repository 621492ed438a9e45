"""The same LSTM step by step, in Python and in a thread of plain C."""

import audio
import numpy as np

import rnnfast

net = rnnfast.LSTM(1, 16, rng=0).freeze()
samples = np.sin(np.arange(480, dtype=np.float32) / 7)

played = np.empty_like(samples)
audio.through(net, samples, played)

state, expected = None, []
for sample in samples:
    y, state = net.step(sample[None], state)
    expected.append(y[0])

for n in (0, 1, 2, 479):
    print(f"sample {n}: {played[n]:.7f} in C, {expected[n]:.7f} in Python")
print("the same bits" if np.array_equal(played, np.array(expected)) else "they differ")
