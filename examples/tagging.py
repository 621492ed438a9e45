"""Label every word of a sentence where the words before and after decide: is "apple" a fruit or a company?

    python tagging.py
    python tagging.py "my uncle ate an orange" "Blackberry hired chemists"       # sentences of your own

The sentences to learn from are made by a small grammar. In half of their clauses what decides stands before the word ("she
peeled the apple again"), in the others after it ("today apple reported profits"). A GRU that reads from left to right has not
seen the latter yet when it must answer; a GRU that reads in both directions has.

Words that are rare in the training sentences, here people's names, are replaced by <unknown>, whose embedding is learnt like
that of any other word. It then stands for every word that the network has never seen.
"""

import common  # isort: skip
import re

import numpy as np

import rnnfast
from rnnfast import nn

TAGS = ("-", "fruit", "company")
WORDS = ("apple", "orange", "blackberry")
WHO = "WHO"  # he, she, or a name
BEFORE = {
    "fruit": ("WHO peeled the", "WHO ate an", "we picked one ripe", "WHO washed the red", "they cut the fresh"),
    "company": ("shares of", "i work for", "the boss of", "investors like", "WHO sued"),
}
AFTER = {
    "fruit": ("was ripe", "tasted sweet", "fell from the tree", "pie is good", "juice was cold"),
    "company": ("reported profits", "hired engineers", "opened a store", "stock fell", "was sued"),
}
EITHER_BEFORE = ("today", "WHO heard that", "everyone knows", "this year", "")
EITHER_AFTER = ("again", "last week", "in town", "as well", "")
SYLLABLES = ("ba", "da", "jo", "ka", "li", "ma", "ni", "pe", "ri", "to")
UNKNOWN, RARE = "<unknown>", 3  # words that occur less often than that are replaced


def who(rng) -> str:
    """A pronoun or a name of four syllables: one of 10,000, so that most occur once."""
    return rng.choice(("he", "she")) if rng.random() < 0.5 else "".join(rng.choice(SYLLABLES, 4))


def sentence(rng) -> tuple[list[str], list[str]]:
    """One or two clauses: words and their tags."""
    words, tags = [], []
    for clause in range(rng.integers(1, 3)):
        tag = TAGS[rng.integers(1, 3)]
        if rng.random() < 0.5:
            before, after = rng.choice(BEFORE[tag]), rng.choice(EITHER_AFTER)
        else:
            before, after = rng.choice(EITHER_BEFORE), rng.choice(AFTER[tag])
        before = before.replace(WHO, who(rng))
        parts = ["and"] * (clause > 0) + before.split() + [rng.choice(WORDS)] + after.split()
        words += parts
        tags += [tag if word in WORDS else "-" for word in parts]
    return words, tags


def arrays(pairs, vocabulary):
    """Words and tags -> x (T, N) numbers of words, tags (T, N) with -1 past the ends, lengths (N,)."""
    x, lengths = nn.pad_sequences([vocabulary.encode(words) for words, _ in pairs])
    tags, _ = nn.pad_sequences([[TAGS.index(tag) for tag in tags] for _, tags in pairs], value=-1)
    return x, tags, lengths


def build(count: int, bidirectional: bool, seed: int) -> nn.Sequential:
    gru = rnnfast.GRU(16, 32, bidirectional=bidirectional, rng=seed)
    return nn.Sequential(
        nn.Embedding(count, 16, rng=seed + 1), gru, nn.Dense(64 if bidirectional else 32, len(TAGS), rng=seed + 2)
    )


def loss(logits, tags):
    return nn.cross_entropy(logits, tags, ignore_index=-1)


def options() -> common.Parser:
    parser = common.options(__doc__, checkpoint=None)
    default = ["I heard that apple was sued and she peeled the orange", "My uncle washed the red apple"]
    parser.add_argument("sentences", nargs="*", default=default, help="to label after the training, in quotation marks")
    return parser


def main(args) -> None:
    sentences = [re.findall(r"[\w'-]+", text.lower()) for text in args.sentences]
    if not all(sentences):
        raise ValueError(f"sentences: expected words in each, got {args.sentences[sentences.index([])]!r}")
    count, rng = 3000 if args.quick else 8000, np.random.default_rng(args.seed)
    pairs = [sentence(rng) for _ in range(count)]
    learnt, held = pairs[: count * 9 // 10], pairs[count * 9 // 10 :]
    vocabulary = nn.Vocabulary.of((words for words, _ in learnt), least=RARE, unknown=UNKNOWN)
    x, tags, lengths = arrays(learnt, vocabulary)
    held_x, truth, held_lengths = arrays(held, vocabulary)
    replaced = np.mean([word not in vocabulary for words, _ in learnt for word in words])
    print(f"{len(learnt)} sentences learnt; {replaced:.1%} of their words occur less than {RARE} times and became {UNKNOWN}")
    models = {
        name: build(len(vocabulary), both, args.seed) for name, both in (("left to right", False), ("both directions", True))
    }
    for name, model in models.items():
        nn.fit(
            model,
            loss,
            nn.Adam(model.params, 5e-3),
            x,
            tags,
            lengths=lengths,
            batch_axes=(1, 1),
            epochs=4 if args.quick else 10,
            rng=args.seed,
            desc=name,
        )
        found = nn.predict(model, held_x, lengths=held_lengths, batch_axes=(1, 1)).argmax(axis=-1)
        named = truth > 0  # the fruits and companies
        right = (found == truth)[named].mean()
        print(
            f"{name}: {right:.1%} of {np.count_nonzero(named)} fruits and companies in {len(held)} held-out sentences are right"
        )
    for words in sentences:
        unknown = [word for word in words if word not in vocabulary]
        print(f"\n{' '.join(words)}" + f" ({UNKNOWN}: {', '.join(unknown)})" * bool(unknown))
        for name, model in models.items():
            found = model(vocabulary.encode(words)[:, None], lengths=[len(words)])[:, 0].argmax(axis=-1)
            shown = (f"{word}/{TAGS[tag]}" if tag else word for word, tag in zip(words, found, strict=True))
            print(f"  {name}: {' '.join(shown)}")


if __name__ == "__main__":
    common.run(options(), main)
