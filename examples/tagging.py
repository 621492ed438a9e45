"""Labels for every word where the label depends on words before and after it: is "apple" a fruit or a company?

    python tagging.py

Sentences of a small grammar: what decides stands before the word in half of them ("she peeled the apple again"), after it
in the others ("today apple reported profits"). A network that reads from left to right alone cannot know those; one in both
directions can.
"""

import common  # isort: skip
import numpy as np

import rnnfast
from rnnfast import nn

TAGS = ("-", "fruit", "company")
WORDS = ("apple", "orange", "blackberry")
BEFORE = {
    "fruit": ("she peeled the", "he ate an", "we picked one ripe", "i washed the red", "they cut the fresh"),
    "company": ("shares of", "i work for", "the boss of", "investors like", "she sued"),
}
AFTER = {
    "fruit": ("was ripe", "tasted sweet", "fell from the tree", "pie is good", "juice was cold"),
    "company": ("reported profits", "hired engineers", "opened a store", "stock fell", "was sued"),
}
EITHER_BEFORE = ("today", "i heard that", "everyone knows", "this year", "")
EITHER_AFTER = ("again", "last week", "in town", "as well", "")


def sentence(rng) -> tuple[list[str], list[str]]:
    """One or two clauses: words and their tags."""
    words, tags = [], []
    for clause in range(rng.integers(1, 3)):
        tag = TAGS[rng.integers(1, 3)]
        if rng.random() < 0.5:
            before, after = rng.choice(BEFORE[tag]), rng.choice(EITHER_AFTER)
        else:
            before, after = rng.choice(EITHER_BEFORE), rng.choice(AFTER[tag])
        parts = ["and"] * (clause > 0) + before.split() + [rng.choice(WORDS)] + after.split()
        words += parts
        tags += [tag if word in WORDS else "-" for word in parts]
    return words, tags


def data(count: int, seed: int):
    """x (T, N) words, tags (T, N) with -1 past the ends, lengths (N,), the vocabulary."""
    rng = np.random.default_rng(seed)
    pairs = [sentence(rng) for _ in range(count)]
    vocabulary = nn.Vocabulary(sorted({word for words, _ in pairs for word in words}))
    x, lengths = nn.pad_sequences([vocabulary.encode(words) for words, _ in pairs])
    tags, _ = nn.pad_sequences([[TAGS.index(tag) for tag in tags] for _, tags in pairs], value=-1)
    return x, tags, lengths, vocabulary


def build(count: int, bidirectional: bool, seed: int) -> nn.Sequential:
    gru = rnnfast.GRU(16, 32, bidirectional=bidirectional, rng=seed)
    return nn.Sequential(
        nn.Embedding(count, 16, rng=seed + 1), gru, nn.Dense(64 if bidirectional else 32, len(TAGS), rng=seed + 2)
    )


def loss(logits, tags):
    return nn.cross_entropy(logits, tags, ignore_index=-1)


def main() -> None:
    parser = common.options(__doc__, checkpoint=False)
    parser.add_argument("--sentence", default="i heard that apple was sued and she peeled the orange", help="to tag at the end")
    args = parser.parse_args()
    count = 3000 if args.quick else 8000
    x, tags, lengths, vocabulary = data(count, args.seed)
    cut, models = count * 9 // 10, {}
    for name, both in (("left to right", False), ("both directions", True)):
        model = models[name] = build(len(vocabulary), both, args.seed)
        nn.fit(
            model,
            loss,
            nn.Adam(model.params, 5e-3),
            x[:, :cut],
            tags[:, :cut],
            lengths=lengths[:cut],
            batch_axes=(1, 1),
            epochs=4 if args.quick else 10,
            rng=args.seed,
            desc=name,
        )
        found = nn.predict(model, x[:, cut:], lengths=lengths[cut:], batch_axes=(1, 1)).argmax(axis=-1)
        truth = tags[:, cut:]
        words = truth > 0  # the fruits and companies
        print(f"{name}: {(found == truth)[words].mean():.3f} of {np.count_nonzero(words)} held-out fruits and companies right")
    words = args.sentence.split()
    if unknown := [word for word in words if word not in vocabulary]:
        parser.error(f"--sentence: expected words of the grammar, got {' '.join(unknown)}")
    for name, model in models.items():
        found = model(vocabulary.encode(words)[:, None], lengths=[len(words)])[:, 0].argmax(axis=-1)
        shown = (f"{word}/{TAGS[tag]}" if tag else word for word, tag in zip(words, found, strict=True))
        print(f"{name}: {' '.join(shown)}")


if __name__ == "__main__":
    main()
