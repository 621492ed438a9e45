"""Translate dates as people write them to the ISO form: "Tuesday, 3rd of March 1998" -> "1998-03-03".

    python seq2seq.py
    python seq2seq.py "4 July 1976" "31.12.1999"       # dates of your own
    python seq2seq.py --attention                      # with a picture of what the decoder looks at

Sequence to sequence: an LSTM, the encoder, reads the characters; its last state is the first of another LSTM, the decoder,
which writes the answer. During training the decoder reads the right answer so far (teacher forcing). Afterwards it reads what
it has written itself: the most probable character at each step (greedy), or the few most probable answers side by side (beam
search). With --attention, a weighted mean of the encoder's outputs also goes into every character that is written.
"""

import common  # isort: skip
import datetime

import numpy as np

import rnnfast
from rnnfast import nn

EMBEDDING, HIDDEN = 32, 128
START, END, PAD = "<", ">", "_"
FIRST, DAYS = datetime.date(1950, 1, 1), 36525
MONTHS = [datetime.date(2000, month, 1).strftime("%B") for month in range(1, 13)]
WEEKDAYS = [datetime.date(2001, 1, day).strftime("%A") for day in range(1, 8)]  # 2001 began with a Monday


def written(date: datetime.date, rng) -> str:
    """The date in one of many human forms."""
    d, m, y = date.day, MONTHS[date.month - 1], date.year
    th = "th" if 10 < d < 20 else {1: "st", 2: "nd", 3: "rd"}.get(d % 10, "th")
    week = WEEKDAYS[date.weekday()]
    text = rng.choice(
        [
            f"{d} {m} {y}",
            f"{d} {m[:3]} {y}",
            f"{m} {d}, {y}",
            f"{m[:3]} {d}{th} {y}",
            f"{week}, {d}{th} of {m} {y}",
            f"{week[:3]} {d} {m[:3]} {y}",
            f"{d}.{date.month}.{y}",
            f"{y}/{date.month}/{d}",
            f"{m} the {d}{th}, {y}",
        ]
    )
    return str(text.lower() if rng.random() < 0.3 else text)


def data(count: int, seed: int):
    """count pairs (human, ISO): days are drawn from 100 years, each day once, so that held-out days were never seen."""
    rng = np.random.default_rng(seed)
    days = [FIRST + datetime.timedelta(int(n)) for n in rng.permutation(DAYS)[:count]]
    return [(written(day, rng), day.isoformat()) for day in days]


SOURCE = nn.Vocabulary.of([PAD, *(chr(c) for c in range(32, 127) if chr(c) != PAD)])  # printable ASCII
TARGET = nn.Vocabulary([PAD, START, END, "-", *"0123456789"])


def arrays(pairs):
    """x (S + T, N): the source, padded, and below it what the decoder is given; y (T, N) what it must write. T = 11."""
    source, _ = nn.pad_sequences([SOURCE.encode(text) for text, _ in pairs], value=SOURCE[PAD])
    given = np.stack([TARGET.encode(START + iso) for _, iso in pairs], axis=1)
    right = np.stack([TARGET.encode(iso + END) for _, iso in pairs], axis=1)
    return np.concatenate([source, given]), right


class Translator:
    """Encoder and decoder. x is as `arrays` makes it; the output is the logits (T, N, characters)."""

    def __init__(self, attention: bool, seed: int):
        self.read = nn.Embedding(len(SOURCE), EMBEDDING, rng=seed)
        self.encoder = rnnfast.LSTM(EMBEDDING, HIDDEN, rng=seed + 1)
        self.write = nn.Embedding(len(TARGET), EMBEDDING, rng=seed + 2)
        self.decoder = rnnfast.LSTM(EMBEDDING, HIDDEN, rng=seed + 3)
        self.attention = nn.AdditiveAttention(HIDDEN, HIDDEN, 64, rng=seed + 4) if attention else None
        self.out = nn.Dense(HIDDEN * (2 if attention else 1), len(TARGET), rng=seed + 5)
        parts = ("read", "encoder", "write", "decoder", "attention", "out")
        self.parts = {name: part for name in parts if (part := getattr(self, name)) is not None}
        self.params = {f"{name}.{key}": a for name, part in self.parts.items() for key, a in part.params.items()}

    def split(self, x):
        source, given = x[:-11], x[-11:]
        return source, (source != SOURCE[PAD]).sum(axis=0), given

    def __call__(self, x, *, lengths=None):
        source, lengths, given = self.split(x)
        keys, state = self.encoder(self.read(source), lengths=lengths)
        y, _ = self.decoder(self.write(given), state)
        return self.answer(y, keys, lengths)[0]

    def answer(self, y, keys, lengths):
        """Decoder outputs y (T, N, H) or (N, H) -> logits, attention weights or None."""
        if self.attention is None:
            return self.out(y), None
        context, weights = self.attention(y, keys, lengths=lengths)
        return self.out(np.concatenate([y, context], axis=-1)), weights

    def record(self, x, *, lengths=None, rng=None):
        source, lengths, given = self.split(x)
        read, read_tape = self.read.record(source)
        keys, state, encoder_tape = self.encoder.record(read, lengths=lengths)
        written, write_tape = self.write.record(given)
        y, _, decoder_tape = self.decoder.record(written, state)
        if self.attention is not None:  # of all steps at once: the query is what the decoder has just computed
            context, _, attention_tape = self.attention.record(y, keys, lengths=lengths)
        logits, out_tape = self.out.record(y if self.attention is None else np.concatenate([y, context], axis=-1))

        def backward(dy, need_x):
            grads = {"out": (g := out_tape.backward(dy)).params}
            d_y, d_keys = g.x, None
            if self.attention is not None:
                a = attention_tape.backward(g.x[..., HIDDEN:])
                d_y, d_keys, grads["attention"] = g.x[..., :HIDDEN] + a.query, a.keys, a.params
            d = decoder_tape.backward(d_y)
            e = encoder_tape.backward(d_keys, d.state)
            grads["decoder"], grads["encoder"] = d.params, e.params
            grads["write"], grads["read"] = write_tape.backward(d.x).params, read_tape.backward(e.x).params
            return nn.Gradients(
                None, {f"{name}.{key}": grads[name][key] for name in self.parts for key in self.parts[name].params}
            )

        return logits, nn.Tape(logits, backward)

    def encode(self, texts):
        source, lengths = nn.pad_sequences([SOURCE.encode(text) for text in texts], value=SOURCE[PAD])
        keys, state = self.encoder.freeze()(self.read(source), lengths=lengths)
        return keys, lengths, state

    def greedy(self, texts):
        """The ISO dates of texts, and the attention weights (T, S, N) or None."""
        keys, lengths, state = self.encode(texts)
        step, token = self.decoder.freeze().step, np.full(len(texts), TARGET[START])
        tokens, looks = [], []
        for _ in range(11):
            y, state = step(self.write(token), state)
            logits, weights = self.answer(y, keys, lengths)
            token = logits.argmax(axis=-1)
            tokens.append(token)
            looks.append(weights)
        answers = ["".join(TARGET.decode(row)).partition(END)[0] for row in np.stack(tokens, axis=1)]
        return answers, None if self.attention is None else np.stack(looks)

    def beam(self, text: str, width: int = 4):
        """The most probable answers of a text, best first: (log probability, ISO date)."""
        keys, lengths, state = self.encode([text])
        keys, lengths = keys.repeat(width, axis=1), lengths.repeat(width)
        state = tuple(a.repeat(width, axis=1) for a in state)
        step, rows, score = self.decoder.freeze().step, [[TARGET[START]]] * width, np.full(width, -np.inf)
        score[0] = 0  # all rows are the same at first
        for _ in range(11):
            y, state = step(self.write([row[-1] for row in rows]), state)
            logits = self.answer(y, keys, lengths)[0].astype(np.float64)
            top = logits.max(axis=1, keepdims=True)
            total = score[:, None] + logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
            best = np.argsort(total, axis=None)[::-1][:width]
            source, token = np.unravel_index(best, total.shape)
            rows, score = [[*rows[i], t] for i, t in zip(source, token, strict=True)], total[source, token]
            state = tuple(np.ascontiguousarray(a[:, source]) for a in state)
        return [(float(s), "".join(TARGET.decode(row[1:])).partition(END)[0]) for s, row in zip(score, rows, strict=True)]


def picture(fig, axes, model: Translator, text: str) -> None:
    answers, weights = model.greedy([text])
    image = axes.imshow(weights[:, :, 0], cmap="Blues", aspect="auto")
    axes.set_xticks(range(len(text)), list(text))
    axes.set_yticks(range(11), [*answers[0], "end"][:11])
    axes.set(
        title="What the decoder looks at while it writes",
        xlabel="characters that the encoder has read (in order of time)",
        ylabel="characters that the\ndecoder writes (downwards)",
    )
    fig.colorbar(image, label="weight (those of a row add up to 1)")


def options() -> common.Parser:
    parser = common.options(__doc__, "attention.png")
    default = ["Tuesday, 3rd of March 1998", "4 jul 1976", "31.12.1999"]
    parser.add_argument("texts", nargs="*", default=default, help="dates to translate after the training, in quotation marks")
    parser.add_argument(
        "--attention",
        action="store_true",
        help="let the decoder look at the encoder's outputs, and draw for the first text where",
    )
    parser.add_argument("--epochs", type=common.at_least(1), default=20, help="passes over the data (default %(default)s)")
    return parser


def main(args) -> None:
    fig, axes = common.figure(args.plot if args.attention else "")
    for text in args.texts:
        with common.expecting("texts", "printable ASCII characters", repr(text)):
            if not len(SOURCE.encode(text)):
                raise ValueError("it is empty")
    pairs = data(7000 if args.quick else 21000, args.seed)
    held, learnt = pairs[:1000], pairs[1000:]
    model = Translator(args.attention, args.seed)
    epochs = 12 if args.quick else args.epochs
    nn.fit(
        model,
        nn.cross_entropy,
        nn.Adam(model.params, 3e-3),
        *arrays(learnt),
        batch_axes=(1, 1),
        epochs=epochs,
        batch_size=64,
        clip_norm=1.0,
        schedule=nn.CosineDecay(epochs, 0.02),
        rng=args.seed,
        checkpoint=args.checkpoint,
    )
    answers, _ = model.greedy([text for text, _ in held])
    right = np.mean([answer == iso for answer, (_, iso) in zip(answers, held, strict=True)])
    print(f"{right:.1%} of {len(held)} held-out dates are exactly right")
    print("The most probable answer, and the second, each with its probability:")
    for text in args.texts:
        (score, iso), (other, second) = model.beam(text)[:2]
        print(f"{text} -> {iso} ({np.exp(score):.2f}), {second} ({np.exp(other):.2f})")
    if fig:
        picture(fig, axes, model, args.texts[0])
        common.save(fig, args.plot)


if __name__ == "__main__":
    common.run(options(), main)
