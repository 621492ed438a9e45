"""The programs of examples/ end well whatever happens: what the user can mend in one sentence and exit status 2, before the
training begins; Ctrl-C in one and exit status 130. Their pictures name what they show, and hide nothing of it."""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rnnfast import nn
from rnnfast.progress import progress

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def program(monkeypatch):
    """Imports a program and gives its parser and main."""
    monkeypatch.syspath_prepend(EXAMPLES)

    def program(name):
        module = importlib.import_module(name)
        return module.options(), module.main

    return program


@pytest.fixture
def end(program, monkeypatch, capsys, tmp_path):
    """Runs a program in tmp_path and gives its exit status and its sentence on stderr; the user stops it when it trains."""
    monkeypatch.chdir(tmp_path)

    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(progress, "__enter__", stop)

    def end(name, *arguments):
        parser, main = program(name)
        parser.prog = f"{name}.py"
        monkeypatch.setattr(sys, "argv", [parser.prog, *map(str, arguments)])
        with pytest.raises(SystemExit) as status:
            sys.modules["common"].run(parser, main)
        text = capsys.readouterr().err
        assert text.startswith(f"{name}.py: ") and text.count("\n") == 1, text
        return status.value.code, text

    return end


OWN = ("--csv", "own.csv", "--text", "day", "--label", "price")
WALK = ("--data", "walk", "--plot", "")
NO_PLOT = ("--plot", "")
WITHOUT_EXTRAS = {  # enough to begin the training with rnnfast alone
    "char_rnn": (),
    "continuous": NO_PLOT,
    "deploy_torch": (),
    "forecast": WALK,
    "memory": NO_PLOT,
    "own_cell": NO_PLOT,
    "sentiment": OWN,
    "seq2seq": (),
    "sine": NO_PLOT,
    "stream": NO_PLOT,
    "tagging": (),
}
NEED_A_FRAMEWORK = ("accelerate_keras", "accelerate_torch")  # whose model they train
PLOTS = {
    "continuous": (),
    "forecast": ("--data", "walk"),
    "memory": (),
    "own_cell": (),
    "seq2seq": ("--attention",),
    "sine": (),
    "stream": ("--steps", 2000),
}


def test_all_programs_are_here():
    assert sorted((*WITHOUT_EXTRAS, *NEED_A_FRAMEWORK)) == sorted(
        path.stem for path in EXAMPLES.glob("*.py") if path.stem != "common"
    )


@pytest.mark.parametrize("name", WITHOUT_EXTRAS)
def test_ctrl_c(end, name, tmp_path):
    (tmp_path / "own.csv").write_text("day,price\n" + "a,0\nb,1\n" * 10)
    arguments = WITHOUT_EXTRAS[name]
    status, text = end(name, *arguments)
    assert status == 130 and "stopped by Ctrl-C: nothing was kept" in text
    if "--checkpoint" in text:
        status, text = end(name, *arguments, "--checkpoint", "run.npz")
        assert status == 130 and "run.npz was not written yet, so the same command begins anew" in text
    else:
        assert name in ("continuous", "deploy_torch", "memory", "own_cell", "stream", "tagging")


def test_ctrl_c_after_a_checkpoint(end, program, monkeypatch, tmp_path):
    with monkeypatch.context() as train:
        train.setattr(progress, "__enter__", lambda bar: bar)
        parser, main = program("sine")
        main(parser.parse_args(["--plot", "", "--epochs", "2", "--checkpoint", str(tmp_path / "run.npz")]))
    status, text = end("sine", "--plot", "", "--checkpoint", "run.npz")
    assert status == 130 and "the same command goes on from where it stopped, with the last checkpoint in run.npz" in text


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("char_rnn", ("--text", "none.txt"), "--text: expected a text in UTF-8, got none.txt: No such file"),
        ("char_rnn", ("--text", "binary"), "--text: expected a text in UTF-8, got binary: 'utf-8' codec"),
        ("char_rnn", ("--text", "own.csv"), "--text: expected 2312 characters or more"),
        ("char_rnn", ("--load", "none.npz"), "--load: expected a file that --save has written, got none.npz: No such file"),
        ("char_rnn", ("--load", "own.csv"), "--load: expected a file that --save has written, got own.csv: File is not a zip"),
        ("char_rnn", ("--load", "other.npz"), "--load: expected a file that --save has written, got other.npz: "),
        ("char_rnn", ("--prompt", "\u4e2d"), "--prompt: expected characters of the text, got '\u4e2d': "),
        ("char_rnn", ("--save", "none/model.npz"), "--save: expected a file that can be written, got none/model.npz: "),
        ("char_rnn", ("--batch", "0"), "--batch: expected a number of 1 or more, got 0"),
        ("char_rnn", ("--lr", "nan"), "--lr: expected a number of 1e-09 or more, got nan"),
        ("char_rnn", ("--seconds", "1", "--checkpoint", "run.npz"), "--checkpoint: expected --steps with it, got --seconds"),
        (
            "char_rnn",
            ("--checkpoint", "other.npz"),
            "--checkpoint: expected a file of this model that this program has written",
        ),
        ("sine", ("--checkpoint", "none/run.npz", *NO_PLOT), "--checkpoint: expected a file that can be written, got none/run"),
        ("sine", ("--checkpoint", "other.npz", *NO_PLOT), "checkpoint: expected a file that fit has written, got other.npz"),
        ("sine", ("--seed", "-1"), "--seed: expected a number of 0 or more, got -1"),
        ("forecast", ("--csv", "own.csv"), "--csv and --column: expected both or neither"),
        (
            "forecast",
            ("--csv", "none.csv", "--column", "a"),
            "--csv: expected a CSV file with a column a, got none.csv: No such",
        ),
        ("forecast", ("--csv", "own.csv", "--column", "a"), "with a column a, got own.csv: its columns are day, price"),
        ("forecast", ("--csv", "own.csv", "--column", "day"), "got own.csv: line 2: could not convert string to float: 'a'"),
        ("forecast", ("--csv", "binary", "--column", "a"), "with a column a, got binary: 'utf-8' codec"),
        ("forecast", ("--csv", "own.csv", "--column", "price"), "the series: expected 61 values or more to learn from"),
        ("forecast", ("--noisy-sine", "--checkpoint", "run.npz"), "--checkpoint: expected a single training"),
        (
            "sentiment",
            ("--csv", "none.csv"),
            "expected a CSV file with a column text and a column label, got none.csv: No such",
        ),
        ("sentiment", ("--csv", "own.csv"), "got own.csv: its columns are day, price"),
        ("sentiment", ("--csv", "own.csv", "--text", "price", "--label", "day"), "line 2: expected a label of 0 or 1, got 'a'"),
        ("sentiment", OWN, "--csv: expected 10 rows or more, of which a tenth is held out, got 2 in own.csv"),
        ("seq2seq", ("4 f\u00e9vrier",), "texts: expected printable ASCII characters, got '4 f\u00e9vrier': "),
        ("seq2seq", ("",), "texts: expected printable ASCII characters, got '': it is empty"),
        ("sentiment", ("--recurrent-dropout", "2"), "--recurrent-dropout: expected a number from 0 to 1, got 2"),
        ("stream", ("--steps", "0"), "--steps: expected a number of 1 or more, got 0"),
        ("memory", ("--seed", "one"), "--seed: invalid number value: 'one'"),
        ("deploy_torch", ("--folder", "binary"), "--folder: expected a folder that can be written, got binary: File exists"),
        ("tagging", ("?",), "sentences: expected words in each, got '?'"),
    ],
)
def test_what_the_user_can_mend(end, name, arguments, text, tmp_path):
    (tmp_path / "own.csv").write_text("day,price\na,0\nb,1\n")
    (tmp_path / "binary").write_bytes(b"\xff\x00")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    status, said = end(name, *arguments, *(NO_PLOT if name == "forecast" else ()))
    assert status == 2 and text in said, said
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("name", "package"),
    [("forecast", "vega_datasets"), ("sentiment", "snownlp"), *((name, "matplotlib") for name in PLOTS)],
)
def test_a_package_is_missing(end, monkeypatch, name, package):
    for module in [package, *(known for known in sys.modules if known.startswith(f"{package}."))]:
        monkeypatch.setitem(sys.modules, module, None)  # its parts too, if another test imported them
    status, text = end(name, *PLOTS.get(name, ()) if package == "matplotlib" else NO_PLOT if name == "forecast" else ())
    assert status == 2 and package in text and 'is not installed; install it with pip install ".[examples]"' in text
    assert ("--plot '' for no picture" in text) == (package == "matplotlib")


@pytest.mark.parametrize("name", PLOTS)
@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("none/a.png", "expected a file that can be written, got none/a.png: No such file or directory"),
        ("file/a.png", "expected a file that can be written, got file/a.png: Not a directory"),
        ("folder.png", "expected a file that can be written, got folder.png: Is a directory"),
        ("a.xyz", "expected the name of a picture, got a.xyz: Format 'xyz' is not supported"),
        ("a", "expected the name of a picture, got a: Format '' is not supported"),
    ],
)
def test_a_picture_that_cannot_be_written_is_found_before_the_training(end, name, file, text, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: there are no pictures")
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    status, said = end(name, *PLOTS[name], "--plot", file)
    assert status == 2 and f"--plot: {text}" in said, said


def pixels(fig):
    agg = importlib.import_module("matplotlib.backends.backend_agg")
    canvas = agg.FigureCanvasAgg(fig)
    canvas.draw()
    return np.array(canvas.buffer_rgba()).astype(int)


@pytest.mark.parametrize("name", PLOTS)
def test_a_picture_says_what_it_shows_and_hides_nothing(program, monkeypatch, tmp_path, name):
    """With networks that have learnt nothing: their curves lie exactly on one another in the program memory."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: there are no pictures")
    monkeypatch.chdir(tmp_path)
    parser, main = program(name)
    common, drawn = sys.modules["common"], []
    save = common.save
    monkeypatch.setattr(common, "save", lambda fig, file: (drawn.append(fig), save(fig, file)))
    monkeypatch.setattr(nn, "fit", lambda *_, **__: {"loss": [1.0], "val_loss": [1.0]})
    if name in ("memory", "own_cell"):
        monkeypatch.setattr(sys.modules[name], "learn", lambda *_: (np.linspace(0.3, 0.1, 150), 1.0))
    main(parser.parse_args(["--quick", *map(str, PLOTS[name])]))
    (fig,) = drawn
    assert (tmp_path / f"{'attention' if name == 'seq2seq' else name}.png").stat().st_size > 5000
    for axes in fig.axes:
        labels = [axes.get_title(), axes.get_xlabel(), axes.get_ylabel()]
        assert all(labels) or (axes.get_label() == "<colorbar>" and axes.get_ylabel())
        frame, legend = axes.get_window_extent(), axes.get_legend()
        assert (legend is not None) == (len(axes.lines) > 1)
        assert legend is None or not legend.get_window_extent().overlaps(frame)
        whole = pixels(fig)
        for line in axes.lines:
            line.set_visible(False)
            difference = np.abs(pixels(fig) - whole).sum(axis=-1)[:, int(frame.x0) : int(frame.x1)]
            changed = np.count_nonzero(difference > 100)  # more than the smoothed edges of a line behind another
            line.set_visible(True)
            assert changed > 200, f"{line.get_label()}: hidden"


def test_ctrl_c_of_a_process(tmp_path):
    """The exit status of a real process, after a real signal."""
    code = (
        "import runpy, signal, sys; from rnnfast.progress import progress; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "  # a background job of a shell ignores it
        "progress.__enter__ = lambda _: signal.raise_signal(signal.SIGINT); "
        f"sys.path.insert(0, {str(EXAMPLES)!r}); sys.argv = ['tagging.py']; "
        f"runpy.run_path({str(EXAMPLES / 'tagging.py')!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 130, done.stderr
    assert done.stderr == "tagging.py: stopped by Ctrl-C: nothing was kept, so the same command begins anew\n"
