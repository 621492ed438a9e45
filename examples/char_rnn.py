"""A character language model: rnnfast.GRU between an embedding and a softmax, trained on English with NumPy alone.

    python char_rnn.py                                        # Python's own help texts, about 2 minutes on 2 cores
    python char_rnn.py --text book.txt --seconds 600 --save book.npz
    python char_rnn.py --load book.npz --steps 0 --prompt "Once upon" --temperature 0.6

It reads one character after another and gives the probability of every character to be the next. Shapes: T characters a
window, B streams side by side, V characters in the vocabulary, E sizes the embedding, H the hidden state, L GRU layers.
"""

import argparse
import math
import os
import time
from pathlib import Path
from pydoc_data.topics import topics

# rnnfast has its own threads; those of NumPy's OpenBLAS keep spinning after every product and take its processors away.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read once, when NumPy is imported

import numpy as np

import rnnfast
from rnnfast.progress import progress

PYTHON_HELP = "".join(topics[name] for name in sorted(topics))  # a twelfth of the last tenth also stands before it
E, DROPOUT = 64, 0.2  # dropout between the GRU layers: so short a text is soon learnt by heart


class CharModel:
    """Logits of the next character: GRU(embedding[characters so far]) @ w_out.T + b_out."""

    def __init__(self, vocabulary: str, H: int, L: int, rng: np.random.Generator):
        V = len(vocabulary)
        self.vocabulary, self.number = vocabulary, {character: i for i, character in enumerate(vocabulary)}
        self.gru = rnnfast.GRU(E, H, L, dropout=DROPOUT, rng=rng)
        self.embedding = rng.standard_normal((V, E), np.float32)
        self.w_out = rng.standard_normal((V, H), np.float32) * np.float32(H**-0.5)
        self.b_out = np.zeros(V, np.float32)
        # All that is learnt, by name: the arrays themselves, which Adam changes in place.
        self.params = {"embedding": self.embedding, "w_out": self.w_out, "b_out": self.b_out}
        self.params |= {f"gru.{name}": value for name, value in self.gru.params.items()}

    def encode(self, text: str) -> np.ndarray:
        """Characters -> their numbers (N,)."""
        if unknown := set(text) - self.number.keys():
            raise ValueError(f"not in the vocabulary: {''.join(sorted(unknown))!r}")
        return np.array([self.number[character] for character in text], np.intp)

    def gradients(self, ids, targets, state, rng):
        """ids, targets (T, B), state (L, B, H) or None -> mean loss, gradients by name, state after the window."""
        N = ids.size
        y, state, tape = self.gru.record(self.embedding[ids], state, rng=rng)  # (T, B, E) -> (T, B, H)
        flat = y.reshape(N, -1)
        loss, dlogits = cross_entropy(flat @ self.w_out.T + self.b_out, targets.ravel())
        # No dstate: what this window does to the next one is left out, back-propagation through time is truncated.
        g = tape.backward((dlogits @ self.w_out).reshape(y.shape))
        # Row i of the embedding gets the sum of dx where i was read; with one-hot rows, far faster than np.add.at.
        one_hot = np.eye(len(self.vocabulary), dtype=np.float32)[ids.ravel()]  # (N, V)
        grads = {"embedding": one_hot.T @ g.x.reshape(N, E), "w_out": dlogits.T @ flat, "b_out": dlogits.sum(axis=0)}
        grads |= {f"gru.{name}": value for name, value in g.params.items()}
        return loss, grads, state

    def loss(self, ids) -> float:
        """ids (N,) -> nats per character, without dropout, in one sequence from end to end."""
        y, _ = self.gru.freeze()(self.embedding[ids[:-1]])  # no batch axis: (N - 1, E) -> (N - 1, H)
        return cross_entropy(y @ self.w_out.T + self.b_out, ids[1:])[0]

    def sample(self, prompt: str, length: int, temperature: float, rng: np.random.Generator) -> str:
        """The prompt and `length` more characters, each drawn from the model's probabilities and then read by it."""
        net, ids = self.gru.freeze(), list(self.encode(prompt))
        y, state = np.zeros(net.hidden_size, np.float32), np.zeros((net.num_layers, net.hidden_size), np.float32)
        for position in range(len(prompt) + length):
            if position >= len(prompt):
                logits = (self.w_out @ y + self.b_out).astype(np.float64)
                p = np.exp((logits - logits.max()) / temperature)
                ids.append(rng.choice(len(p), p=p / p.sum()))
            net.step(self.embedding[ids[position]], state, out=(y, state))  # y (H,) and state (L, H) change in place
        return "".join(self.vocabulary[i] for i in ids)


def cross_entropy(logits, targets):
    """logits (N, V), targets (N,) -> mean of -log softmax(logits)[target], and dlogits, which overwrites logits."""
    rows = np.arange(len(targets))
    logits -= logits.max(axis=1, keepdims=True)  # so that exp cannot overflow
    chosen = logits[rows, targets]
    p = np.exp(logits, out=logits)
    sums = p.sum(axis=1, keepdims=True)
    p /= sums * np.float32(len(rows))
    p[rows, targets] -= 1 / len(rows)
    return float(np.mean(np.log(sums[:, 0]) - chosen, dtype=np.float64)), p


class Adam:
    """Adam in place, after scaling all gradients down together where their norm is above `clip`."""

    def __init__(self, params, beta1: float = 0.9, beta2: float = 0.99, clip: float = 1.0):
        self.params, self.beta1, self.beta2, self.clip, self.steps = params, beta1, beta2, clip, 0
        self.moments = {name: (np.zeros_like(p), np.zeros_like(p), np.empty_like(p)) for name, p in params.items()}

    def step(self, grads, lr: float) -> None:
        self.steps += 1
        scale = min(1.0, self.clip / (sum(float(np.vdot(g, g)) for g in grads.values()) ** 0.5 + 1e-6))
        bias1, bias2 = 1 - self.beta1**self.steps, 1 - self.beta2**self.steps  # of the means, which begin at 0
        for name, p in self.params.items():
            g, (mean, square, work) = grads[name], self.moments[name]
            mean *= self.beta1
            mean += np.multiply(g, scale * (1 - self.beta1), out=work)
            square *= self.beta2
            np.multiply(g, g, out=work)
            square += np.multiply(work, scale**2 * (1 - self.beta2), out=work)
            # p -= lr * (mean / bias1) / (sqrt(square / bias2) + 1e-8)
            np.sqrt(square, out=work)
            work += 1e-8 * bias2**0.5
            np.divide(mean, work, out=work)
            p -= np.multiply(work, lr * bias2**0.5 / bias1, out=work)


def train(model: CharModel, ids, args, rng) -> tuple[int, float]:
    """ids (N,) -> steps and seconds taken. The text is cut into B streams; the state goes from window to window."""
    T, B = args.window, args.batch
    streams = ids[: len(ids) // B * B].reshape(B, -1).T.copy()  # (N // B, B): a window is a block of rows
    adam, state, mean, start, steps, done = Adam(model.params), None, None, 0, 0, 0.0
    limit, began = args.seconds or args.steps, time.perf_counter()
    with progress(round(limit), "seconds" if args.seconds else "steps") as bar:
        while done < limit:
            if start + T >= len(streams):  # the end: begin again, a little further on, so that windows differ
                start, state = int(rng.integers(min(T, len(streams) - T))), None
            window = streams[start : start + T + 1]
            loss, grads, state = model.gradients(window[:-1], window[1:], state, rng)
            # The rate climbs for 50 steps, while Adam knows little of the gradients, then falls along half a cosine.
            adam.step(grads, args.lr * min(1, (steps + 1) / 50) * (1 + math.cos(math.pi * done / limit)) / 2)
            start, steps, seconds = start + T, steps + 1, time.perf_counter() - began
            mean = loss if mean is None else 0.95 * mean + 0.05 * loss
            bar.note(f"loss {mean:.2f}, {steps * B * T / seconds:.0f} chars/s")
            before, done = done, seconds if args.seconds else steps
            bar.update(int(done) - int(before))
    return steps, seconds


def load(path: str) -> CharModel:
    with np.load(path) as arrays:  # arrays only: NumPy reads no pickles unless asked
        H, L = arrays["w_out"].shape[1], sum(name.startswith("gru.weight_hh_l") for name in arrays)
        model = CharModel("".join(map(chr, arrays["vocabulary"])), H, L, np.random.default_rng())
        for name, value in model.params.items():
            value[...] = arrays[name]
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    option, either = parser.add_argument, parser.add_mutually_exclusive_group().add_argument
    option("--text", metavar="FILE", help="text to learn, UTF-8 (default: Python's help texts)")
    either("--steps", type=int, default=800, help="windows to learn from; 0: none (default %(default)s)")
    either("--seconds", type=float, help="learn for so long instead")
    option("--batch", type=int, default=32, help="streams, B (default %(default)s)")
    option("--window", type=int, default=64, help="characters a window, T (default %(default)s)")
    option("--hidden", type=int, default=256, help="size of the state, H (default %(default)s)")
    option("--layers", type=int, default=2, help="GRU layers, L (default %(default)s)")
    option("--lr", type=float, default=3e-3, help="highest learning rate (default %(default)s)")
    option("--seed", type=int, default=0, help="of all random numbers (default %(default)s)")
    option("--temperature", type=float, default=0.6, help="of the sample; low is careful (default %(default)s)")
    option("--prompt", default="The ", help="how the sample begins (default %(default)r)")
    option("--length", type=int, default=500, help="characters to sample (default %(default)s)")
    option("--save", metavar="FILE", help="write weights and vocabulary to this .npz file")
    option("--load", metavar="FILE", help="begin with such a file; --hidden and --layers are then the file's")
    args = parser.parse_args()
    for name, value in vars(args).items():
        least = 0 if name in ("steps", "seed", "length") else 1e-9
        if isinstance(value, (int, float)) and not least <= value < math.inf:
            parser.error(f"--{name}: expected a number {'not below' if least == 0 else 'above'} 0, got {value}")

    def attempt(name, action, *arguments):
        try:
            return action(*arguments)
        except Exception as error:  # whatever is wrong with a file or a prompt, the user reads one line
            parser.error(f"--{name}: {error}")

    rng, model = np.random.default_rng(args.seed), attempt("load", load, args.load) if args.load else None
    if args.steps or not model:
        text = attempt("text", Path(args.text).read_text, "utf-8") if args.text else PYTHON_HELP
        if len(text) < (needed := max(11, -(-args.batch * (args.window + 1) * 10 // 9))):
            parser.error(f"--text: --batch and --window need {needed} characters or more, got {len(text)}")
        model = model or CharModel("".join(sorted(set(text))), args.hidden, args.layers, rng)
        learnt, held_out = np.split(attempt("text", model.encode, text), [len(text) * 9 // 10])
    attempt("prompt", model.encode, args.prompt)
    if args.save:
        attempt("save", open, args.save, "ab").close()  # better to fail now than after the training
    if args.steps:
        steps, seconds = train(model, learnt, args, rng)
        print(
            f"held-out loss {model.loss(held_out[:50_000]):.2f} nats per character after {steps} steps, "
            f"{seconds:.0f} s, {steps * args.batch * args.window / seconds:.0f} characters/s\n"
        )
    if args.save:
        with attempt("save", open, args.save, "wb") as file:  # given the path itself, savez would append .npz to it
            np.savez(file, vocabulary=[ord(character) for character in model.vocabulary], **model.params)
    print(model.sample(args.prompt, args.length, args.temperature, np.random.default_rng(args.seed)))


if __name__ == "__main__":
    main()
