"""Learn English text character by character, with rnnfast and NumPy alone, and write some more of it.

    python char_rnn.py                                # Python's own help texts, about half a minute on 2 cores
    python char_rnn.py --preset rnn                   # three SimpleRNN layers of 128 instead of two GRU layers of 256
    python char_rnn.py --text book.txt --seconds 600 --save book.npz
    python char_rnn.py --load book.npz --steps 0 --prompt "Once upon" --temperature 0.6

The model reads one character after another and gives for every character of its vocabulary the probability to be the next:
recurrent layers between an embedding and a softmax. The last tenth of the text is held out to measure how good it is.
"""

# Shapes: T characters a window, B streams side by side, V characters in the vocabulary, E sizes the embedding, H the hidden
# state, L layers.

import common  # isort: skip
import json
import math
import time
import zipfile
from functools import partial
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np

import rnnfast
from rnnfast import nn, zoo
from rnnfast.progress import progress

PYTHON_HELP = "".join(topics[name] for name in sorted(topics))  # a twelfth of the last tenth also stands before it
KEPT_EVERY = 100  # steps between checkpoints
E, DROPOUT = 64, 0.2  # dropout between the layers: so short a text is soon learnt by heart
CELLS = {
    "rnn": rnnfast.SimpleRNN,
    "lstm": rnnfast.LSTM,
    "gru": rnnfast.GRU,
    "peephole-lstm": partial(zoo.LSTM, peephole=True),  # its gates see the cell state
    "gru-new": partial(zoo.GRU, update="new"),  # its z multiplies the new content instead of the old
}
PRESETS = {"gru": {"cell": "gru", "hidden": 256, "layers": 2}, "rnn": {"cell": "rnn", "hidden": 128, "layers": 3}}


class CharModel:
    """Logits of the next character: out(rnn(embedding(characters so far)))."""

    def __init__(self, vocabulary: str, cell: str, H: int, L: int, rng: np.random.Generator):
        V = len(vocabulary)
        self.vocabulary, self.cell = nn.Vocabulary(vocabulary), cell
        self.embedding = nn.Embedding(V, E, rng=rng)
        self.rnn = CELLS[cell](E, H, L, dropout=DROPOUT, rng=rng)
        self.out = nn.Dense(H, V, rng=rng)
        # All that is learnt, by name: the arrays themselves, which Adam changes in place.
        parts = {"embedding": self.embedding, "rnn": self.rnn, "out": self.out}
        self.params = {f"{part}.{name}": a for part, layer in parts.items() for name, a in layer.params.items()}

    def gradients(self, ids, targets, state, rng):
        """ids, targets (T, B), state (L, B, H) or a pair or None -> mean loss, gradients by name, state after the window."""
        x, embedded = self.embedding.record(ids)  # (T, B, E)
        y, state, tape = self.rnn.record(x, state, rng=rng)  # (T, B, H)
        logits, out = self.out.record(y)
        loss, dlogits = nn.cross_entropy(logits, targets)
        d_out = out.backward(dlogits)
        # No dstate: what this window does to the next one is left out, back-propagation through time is truncated.
        d_rnn = tape.backward(d_out.x)
        parts = {"embedding": embedded.backward(d_rnn.x), "rnn": d_rnn, "out": d_out}
        return loss, {f"{part}.{name}": a for part, g in parts.items() for name, a in g.params.items()}, state

    def loss(self, ids) -> float:
        """ids (N,) -> nats per character, without dropout, in one sequence from end to end."""
        y, _ = self.rnn.freeze()(self.embedding(ids[:-1]))  # no batch axis: (N - 1, E) -> (N - 1, H)
        return nn.cross_entropy(self.out(y), ids[1:])[0]

    def sample(self, prompt: str, length: int, temperature: float, rng: np.random.Generator) -> str:
        """The prompt and `length` more characters, each drawn from the model's probabilities (at temperature 0 the most
        probable) and then read by it."""
        net, ids, state = self.rnn.freeze(), self.vocabulary.encode(prompt).tolist(), None
        y = np.zeros(net.hidden_size, np.float32)
        for position in range(len(prompt) + length):
            if position >= len(prompt):
                logits = self.out(y).astype(np.float64)
                p = np.exp((logits - logits.max()) / (temperature or 1))
                ids.append(int(rng.choice(len(p), p=p / p.sum()) if temperature else logits.argmax()))
            y, state = net.step(self.embedding(ids[position]), state)  # (H,), and the state is carried
        return "".join(self.vocabulary.decode(ids))


def train(model: CharModel, ids, args, rng) -> tuple[int, int, float]:
    """ids (N,) -> steps in all, steps now and seconds taken. The text is cut into B streams; the state goes from window to
    window."""
    T, B = args.window, args.batch
    streams = ids[: len(ids) // B * B].reshape(B, -1).T.copy()  # (N // B, B): a window is a block of rows
    adam, state, mean, start, steps, done = nn.Adam(model.params, betas=(0.9, 0.99)), None, None, 0, 0, 0.0
    first, limit, began, seconds = 0, args.seconds or args.steps, time.perf_counter(), 0.0
    if args.checkpoint and Path(args.checkpoint).exists():
        state, (mean, start, steps, rng.bit_generator.state) = take_up(args.checkpoint, model, adam)
        first = done = steps
        if done >= limit:
            print(f"The training is finished: {args.checkpoint} holds all {steps} steps.")
    with progress(round(limit), "seconds" if args.seconds else "steps") as bar:
        bar.update(int(done))
        while done < limit:
            if start + T >= len(streams):  # the end: begin again, a little further on, so that windows differ
                start, state = int(rng.integers(min(T, len(streams) - T))), None
            window = streams[start : start + T + 1]
            loss, grads, state = model.gradients(window[:-1], window[1:], state, rng)
            # The rate climbs for 50 steps, while Adam knows little of the gradients, then falls along half a cosine.
            adam.lr = args.lr * min(1, (steps + 1) / 50) * (1 + math.cos(math.pi * done / limit)) / 2
            nn.clip_grad_norm(grads, 1.0)
            adam.step(grads)
            start, steps, seconds = start + T, steps + 1, time.perf_counter() - began
            mean = loss if mean is None else 0.95 * mean + 0.05 * loss
            if args.checkpoint and (steps % KEPT_EVERY == 0 or steps == limit):
                keep(args.checkpoint, model, adam, state, (mean, start, steps, rng.bit_generator.state))
            bar.note(f"loss {mean:.2f}, {(steps - first) * B * T / seconds:.0f} chars/s")
            before, done = done, seconds if args.seconds else steps
            bar.update(int(done) - int(before))
    return steps, steps - first, seconds


def keep(file: str, model: CharModel, adam: nn.Adam, state, numbers) -> None:
    """Writes all that training needs to go on as if it had never stopped; the file is replaced whole."""
    parts = state if isinstance(state, tuple) else (state,)
    arrays = {f"params/{name}": a for name, a in model.params.items()} | {f"adam/{name}": a for name, a in adam.state.items()}
    with open(file + ".part", "wb") as stream:
        np.savez(stream, numbers=json.dumps(numbers), **arrays, **{f"state/{i}": a for i, a in enumerate(parts)})
    Path(file + ".part").replace(file)


def take_up(file: str, model: CharModel, adam: nn.Adam):
    """What `keep` has written: the state and the numbers; the arrays of model and adam are filled."""
    with (
        common.expecting("--checkpoint", "a file of this model that this program has written", file),
        zipfile.ZipFile(file),  # of other files NumPy says that they may be pickles
        np.load(file) as stored,
    ):
        for group, arrays in (("params", model.params), ("adam", adam.state)):
            for name, a in arrays.items():
                a[...] = stored[f"{group}/{name}"]
        parts = tuple(stored[name] for name in stored.files if name.startswith("state/"))
        numbers = json.loads(stored["numbers"].item())
    adam.steps = numbers[2]
    return (parts[0] if len(parts) == 1 else parts), numbers


def load(path: str) -> CharModel:
    with (
        common.expecting("--load", "a file that --save has written", path),
        zipfile.ZipFile(path),
        np.load(path) as arrays,
    ):
        H, L = arrays["out.weight"].shape[1], sum(name.startswith("rnn.weight_hh_l") for name in arrays)
        model = CharModel("".join(map(chr, arrays["vocabulary"])), str(arrays["cell"]), H, L, np.random.default_rng())
        for name, value in model.params.items():
            value[...] = arrays[name]
    return model


def options() -> common.Parser:
    parser = common.options(__doc__, checkpoint=f"every {KEPT_EVERY} steps and at the end")
    option, either = parser.add_argument, parser.add_mutually_exclusive_group().add_argument
    count, positive = common.at_least(1), common.at_least(1e-9, float)
    option("--text", metavar="FILE", help="text to learn, UTF-8 (default: Python's help texts)")
    either(
        "--steps",
        type=common.at_least(0),
        default=800,
        help="how often to learn from one window of all streams; 0: never (default %(default)s)",
    )
    either("--seconds", type=positive, help="learn for so many seconds instead")
    option(
        "--batch", type=count, default=32, help="streams: parts of the text that are read side by side (default %(default)s)"
    )
    option("--window", type=count, default=64, help="characters of a stream that are learnt from at once (default %(default)s)")
    option(
        "--preset", choices=PRESETS, default="gru", help="gru: 2 layers of 256; rnn: 3 SimpleRNN layers of 128 (default gru)"
    )
    option("--cell", choices=CELLS, help="kind of the layers, instead of the preset's")
    option("--hidden", type=count, help="size of each layer's state, instead of the preset's")
    option("--layers", type=count, help="number of layers, instead of the preset's")
    option("--lr", type=positive, default=3e-3, help="highest learning rate (default %(default)s)")
    option(
        "--temperature",
        type=common.at_least(0, float),
        default=0.6,
        help="of the sample: a low one writes what is most probable, 0 nothing else (default %(default)s)",
    )
    option("--prompt", default="The ", help="how the sample begins (default %(default)r)")
    option("--length", type=common.at_least(0), default=500, help="characters to sample (default %(default)s)")
    option("--save", metavar="FILE", help="write weights and vocabulary to this .npz file")
    option("--load", metavar="FILE", help="begin with such a file; the kind and sizes of layers are then the file's")
    return parser


def main(args) -> None:
    for name, value in PRESETS[args.preset].items():
        setattr(args, name, getattr(args, name) or value)
    if args.quick:
        args.steps, args.length = min(args.steps, 150), min(args.length, 100)
    if args.checkpoint and args.seconds:
        raise ValueError("--checkpoint: expected --steps with it, got --seconds, which never takes the same steps twice")
    if args.save:
        common.writable("--save", args.save)
    rng, text = np.random.default_rng(args.seed), PYTHON_HELP
    model = load(args.load) if args.load else None
    if args.steps or not model:
        if args.text:
            with common.expecting("--text", "a text in UTF-8", args.text):
                text = Path(args.text).read_text("utf-8")
        if len(text) < (needed := max(11, -(-args.batch * (args.window + 1) * 10 // 9))):
            raise ValueError(f"--text: expected {needed} characters or more for --batch and --window, got {len(text)}")
        model = model or CharModel("".join(sorted(set(text))), args.cell, args.hidden, args.layers, rng)
        with common.expecting("--text", "characters that the loaded model knows", args.text or "Python's help texts"):
            learnt, held_out = np.split(model.vocabulary.encode(text), [len(text) * 9 // 10])
    with common.expecting("--prompt", "characters of the text", repr(args.prompt)):
        model.vocabulary.encode(args.prompt)
    if args.steps:
        steps, learnt_now, seconds = train(model, learnt, args, rng)
        rate = f", {seconds:.0f} s, {learnt_now * args.batch * args.window / seconds:.0f} characters/s" if learnt_now else ""
        print(f"held-out loss {model.loss(held_out[:50_000]):.2f} nats per character after {steps} steps{rate}\n")
    if args.save:
        with open(args.save, "wb") as file:  # given the path itself, savez would append .npz to it
            np.savez(file, vocabulary=[ord(c) for c in model.vocabulary.tokens], cell=model.cell, **model.params)
    print(model.sample(args.prompt, args.length, args.temperature, np.random.default_rng(args.seed)))


if __name__ == "__main__":
    common.run(options(), main)
