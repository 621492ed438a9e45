"""Train one PyTorch model twice: as it is, and after the one line that lets rnnfast compute its recurrent modules.

    python accelerate_torch.py

The model reads noisy waves of different lengths, as a packed sequence, and says which of three kinds each is: a sine, a square
or a sawtooth. Both copies start from the same parameters and see the same batches: their losses are the same, but that training
makes small differences in rounding larger. PyTorch and rnnfast use the same number of threads, --threads.
"""

import common  # isort: skip
import copy
import time

import numpy as np

import rnnfast

KINDS, HIDDEN, BATCH, LONGEST, LR = ("sine", "square", "sawtooth"), 64, 32, 60, 0.003


def waves(count: int, seed: int):
    """Noisy waves, a list of (length, 1), and the number of the kind of each, (count,)."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, len(KINDS), count)
    found = []
    for kind in kinds:
        phase = rng.uniform(0.2, 0.5) * np.arange(rng.integers(LONGEST // 4, LONGEST + 1)) + rng.uniform(0, 2 * np.pi)
        sine = np.sin(phase)
        wave = (sine, np.sign(sine), phase / np.pi % 2 - 1)[kind]
        found.append((wave + 0.3 * rng.standard_normal(len(wave)))[:, None].astype(np.float32))
    return found, kinds


def build(cell: str):
    """A recurrent module, of whose last states the output layer makes three numbers."""
    import torch

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = getattr(torch.nn, cell)(1, HIDDEN, bidirectional=True)
            self.out = torch.nn.Linear(2 * HIDDEN, len(KINDS))

        def forward(self, packed):
            state = self.rnn(packed)[1]
            h = state[0] if isinstance(state, tuple) else state
            return self.out(torch.cat([h[0], h[1]], dim=1))

    return Model()


def train(model, batches, labels):
    """One step a batch: the losses, and seconds."""
    import torch

    optimizer, losses = torch.optim.Adam(model.parameters(), LR), []
    began = time.perf_counter()
    for batch, kinds in zip(batches, labels, strict=True):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(batch), kinds)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        losses.append(loss.item())
    return losses, time.perf_counter() - began


def options() -> common.Parser:
    parser = common.options(__doc__, checkpoint=None)
    parser.add_argument("--cell", choices=("RNN", "LSTM", "GRU"), default="GRU", help="which module (default %(default)s)")
    parser.add_argument("--steps", type=common.at_least(2), default=100, help="batches, a step each (default %(default)s)")
    parser.add_argument("--threads", type=common.at_least(1), default=1, help="of each of the two (default %(default)s)")
    return parser


def main(args) -> None:
    try:
        import torch
        from torch.nn.utils.rnn import pack_sequence
    except ModuleNotFoundError as missing:
        raise ValueError('PyTorch is not installed; install it with pip install "rnnfast[torch]"') from missing
    from rnnfast.torch import accelerate

    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    rnnfast.set_num_threads(args.threads)
    steps = min(args.steps, 25) if args.quick else args.steps
    found, kinds = waves(BATCH * steps, args.seed)
    tensors = [torch.from_numpy(wave) for wave in found]
    batches = [pack_sequence(tensors[i : i + BATCH], enforce_sorted=False) for i in range(0, len(tensors), BATCH)]
    labels = torch.from_numpy(kinds).split(BATCH)
    plain = build(args.cell)
    fast = copy.deepcopy(plain)
    print(accelerate(fast))  # the one line
    for model in (plain, fast):
        train(copy.deepcopy(model), batches[:2], labels[:2])  # both are warm when the clock starts
    before, seconds = train(plain, batches, labels)
    after, less = train(fast, batches, labels)
    print(f"\n{'step':>4}  {'loss, PyTorch':>14}  {'loss, accelerated':>18}")
    for step in sorted({0, *range(0, steps, max(1, steps // 5)), steps - 1}):
        print(f"{step + 1:4}  {before[step]:14.6f}  {after[step]:18.6f}")
    print(f"\n{steps} steps: PyTorch {seconds:.2f} s, accelerated {less:.2f} s, {seconds / less:.2f} times as fast")


if __name__ == "__main__":
    common.run(options(), main)
