"""The programs of examples/ against the same programs in PyTorch: time of the same training batches, on the same threads.

    python bench/programs.py --threads 1,2 --out results/

Both begin with the same weights and do the same: forward, loss, backward, clipping where the program clips, Adam. Results that
are compared: the losses of the first batches (dropout off, since each draws its own).
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

import numpy as np

import rnnfast
from results import geomean
from rnnfast import nn
from rnnfast.nn.samples import batches as numbers
from rnnfast.nn.samples import samples
from rnnfast.progress import progress
from rnnfast.proof.contenders import Contender, Result
from rnnfast.proof.race import Race

BATCHES = 10  # of an epoch; each call of a contender goes through all


class Program(NamedTuple):
    """A model of the kit, its loss, (x, y, lengths or None) of some batches, the norm that gradients are clipped to; batches of
    an epoch."""

    model: Any
    loss: str
    batches: list[tuple[Any, Any, Any]]
    clip: float | None
    epoch: int
    lr: float = 1e-3


def sine() -> Program:
    import sine

    return Program(sine.build(0), "mean_squared_error", [(*sine.data(), None)] * BATCHES, None, 1)


def text(preset: str) -> Callable[[], Program]:
    def make() -> Program:
        import char_rnn

        sizes = char_rnn.PRESETS[preset]
        characters = "".join(sorted(set(char_rnn.PYTHON_HELP)))
        model = char_rnn.CharModel(characters, sizes["cell"], sizes["hidden"], sizes["layers"], np.random.default_rng(0))
        ids = model.vocabulary.encode(char_rnn.PYTHON_HELP)
        T, B = 64, 32
        streams = ids[: len(ids) // B * B].reshape(B, -1).T
        windows = [streams[i * T : (i + 1) * T + 1] for i in range(BATCHES)]
        chain = nn.Sequential(model.embedding, model.rnn, model.out)
        batches = [(np.ascontiguousarray(w[:-1]), np.ascontiguousarray(w[1:]), None) for w in windows]
        return Program(chain, "cross_entropy", batches, 1.0, len(streams) // T)

    return make


def taken(data: Any, size: int) -> tuple[list[tuple[Any, Any, Any]], int]:
    """The first batches of fit's samples in a drawn order, and the batches of an epoch."""
    order = np.random.default_rng(0).permutation(data.number)
    batches = [data.take(rows, rows) for rows in itertools.islice(numbers(order, size), BATCHES)]
    return batches, -(-data.number // size)


def forecast() -> Program:
    import forecast as program

    training, *_ = program.windows(program.walk(0).values, program.WINDOW, 1)
    model = program.build(rnnfast.LSTM, False, program.HIDDEN, program.LAYERS, 0)
    batches, epoch = taken(samples(*training, None, (1, 0), "data"), 32)
    return Program(model, "mean_squared_error", batches, None, epoch)


def sentiment() -> Program:
    import sentiment as program

    pairs = program.reviews()
    vocabulary = nn.Vocabulary.of((text for text, _ in pairs), least=2, unknown="?")
    x, lengths, y = program.arrays(pairs, vocabulary)
    batches, epoch = taken(samples(x, y, lengths, (1, 0), "data"), 64)
    return Program(program.build(len(vocabulary), False, 0), "binary_cross_entropy", batches, 1.0, epoch)


def seq2seq() -> Program:
    import seq2seq as program

    x, y = program.arrays(program.data(20000, 0))
    batches, epoch = taken(samples(x, y, None, (1, 1), "data"), 64)
    return Program(program.Translator(False, 0), "cross_entropy", batches, 1.0, epoch)


PROGRAMS = {
    "sine": sine,
    "char_rnn, 2 GRU of 256": text("gru"),
    "char_rnn, 3 SimpleRNN of 128": text("rnn"),
    "forecast": forecast,
    "sentiment": sentiment,
    "seq2seq": seq2seq,
}


def ours(name: str, threads: int) -> Callable[[], Result]:
    rnnfast.set_num_threads(threads)
    if importlib.util.find_spec("threadpoolctl") is not None:  # as the programs do by OPENBLAS_NUM_THREADS
        from threadpoolctl import threadpool_limits

        threadpool_limits(1, user_api="blas")
    p = PROGRAMS[name]()
    loss, adam, rng = getattr(nn, p.loss), nn.Adam(p.model.params, p.lr), np.random.default_rng(0)
    first = np.array([loss(p.model(x, lengths=lengths), y)[0] for x, y, lengths in p.batches])

    def train() -> Result:
        for x, y, lengths in p.batches:
            predicted, tape = p.model.record(x, lengths=lengths, rng=rng)
            _, gradient = loss(predicted, y)
            grads = tape.backward(gradient, need_x=False).params
            if p.clip:
                nn.clip_grad_norm(grads, p.clip)
            adam.step(grads)
        return [first]

    return train


def theirs(name: str, threads: int) -> Callable[[], Result]:
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)
    p = PROGRAMS[name]()
    net = _twin(torch, p.model)
    with torch.no_grad():
        for key, parameter in net.named_parameters():
            parameter.copy_(torch.from_numpy(p.model.params[key.removeprefix("parts.")]))
    losses = {
        "mean_squared_error": functional.mse_loss,
        "binary_cross_entropy": functional.binary_cross_entropy_with_logits,
        "cross_entropy": lambda logits, y: functional.cross_entropy(logits.flatten(0, -2), y.flatten()),
    }
    loss, fused = losses[p.loss], name != "sentiment"  # where most of the parameters are an embedding, the plain one is faster
    adam = torch.optim.Adam(net.parameters(), p.lr, fused=fused)

    def tensor(a: Any) -> Any:
        return None if a is None else torch.from_numpy(a.astype(np.int64) if a.dtype.kind == "i" else a)

    batches = [tuple(map(tensor, batch)) for batch in p.batches]
    net.eval()
    with torch.inference_mode():
        first = np.array([loss(net(x, lengths), y).item() for x, y, lengths in batches])
    net.train()

    def train() -> Result:
        for x, y, lengths in batches:
            adam.zero_grad()
            value = loss(net(x, lengths), y)
            value.backward()
            if p.clip:
                torch.nn.utils.clip_grad_norm_(net.parameters(), p.clip)
            adam.step()
        return [first]

    return train


def _twin(torch: Any, model: Any) -> Any:
    """The same model in PyTorch; parameters by the same names below `parts`."""
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    def layer(of: Any) -> Any:
        if isinstance(of, nn.Embedding):
            return torch.nn.Embedding(of.count, of.size)
        if isinstance(of, nn.Dense):
            return torch.nn.Linear(of.in_features, of.out_features)
        if isinstance(of, nn.Dropout):
            return torch.nn.Dropout(of.probability)
        rnn = of.rnn if isinstance(of, nn.Recurrent) else of
        kind = {"SimpleRNN": "RNN"}.get(type(rnn).__name__, type(rnn).__name__)
        sizes = rnn.input_size, rnn.hidden_size, rnn.num_layers
        return getattr(torch.nn, kind)(*sizes, dropout=rnn.dropout, bidirectional=rnn.bidirectional)

    def run(rnn: Any, x: Any, lengths: Any) -> tuple[Any, Any]:
        """y and the state, of padded or ragged x."""
        if lengths is None:
            return tuple(rnn(x))
        y, state = rnn(pack_padded_sequence(x, lengths, enforce_sorted=False))
        return pad_packed_sequence(y)[0], state

    class Chain(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.parts = torch.nn.ModuleList([layer(of) for of in model.layers])

        def forward(self, x: Any, lengths: Any) -> Any:
            for of, part in zip(model.layers, self.parts, strict=True):
                if not isinstance(of, nn.Recurrent):
                    x = part(x)
                    continue
                y, state = run(part, x, lengths)
                h = state[0] if isinstance(state, tuple) else state
                x = y if of.output == "sequence" else h[-1]
            return x

    class Translator(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.parts = torch.nn.ModuleDict({name: layer(part) for name, part in model.parts.items()})

        def forward(self, x: Any, _: Any) -> Any:
            source, given = x[:-11], x[-11:]
            lengths = (source != 0).sum(0)
            _, state = run(self.parts["encoder"], self.parts["read"](source), lengths)
            return self.parts["out"](self.parts["decoder"](self.parts["write"](given), state)[0])

    return Chain() if isinstance(model, nn.Sequential) else Translator()


RACERS = {"rnnfast": Contender("rnnfast", (), ours), "torch": Contender("PyTorch", ("torch",), theirs)}


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| program | threads | rnnfast, ms a batch | PyTorch, ms a batch | ratio | epoch: rnnfast, PyTorch, s |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for r in rows:
        a, b = 1e3 * r["rnnfast"], 1e3 * r["torch"]
        epochs = f"{a * r['epoch'] / 1e3:.3g}, {b * r['epoch'] / 1e3:.3g}"
        lines.append(f"| {r['program']} | {r['threads']} | {a:.3g} | {b:.3g} | {b / a:.2f} | {epochs} |")
    if rows:
        lines.append(f"\nGeometric mean {geomean(r['torch'] / r['rnnfast'] for r in rows):.2f}.")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", default="1,2", help="numbers of threads, default 1,2")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for programs.json and programs.md")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--patience", type=float, default=5.0, help="seconds after which a race ends, 3 rounds done")
    args = parser.parse_args()
    if missing := RACERS["torch"].missing():
        raise SystemExit(f"{' and '.join(missing)} not installed: there is nothing to compare with")
    counts, rows = [int(n) for n in args.threads.split(",")], []
    with progress(len(counts) * len(PROGRAMS), "racing") as bar:
        for threads in counts:
            with Race(tuple(RACERS), threads, RACERS) as race:  # type: ignore[arg-type]
                for name, make in PROGRAMS.items():
                    times = race.run(name, args.rounds, args.patience)  # type: ignore[arg-type]
                    if race.failed or any(t.seconds is None or (t.error or 0) > 1e-4 for t in times):
                        raise SystemExit(f"{name}: {race.failed or 'the losses differ'} {times}")
                    seconds = {t.contender: t.seconds / BATCHES for t in times if t.seconds is not None}
                    rows.append({"program": name, "threads": threads, "epoch": make().epoch, **seconds})
                    bar.update()
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "programs.json").write_text(json.dumps(rows), encoding="utf-8")
    (args.out / "programs.md").write_text(table(rows) + "\n", encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
