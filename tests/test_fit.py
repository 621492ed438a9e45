"""nn.fit: it learns, stops early, resumes to the last bit, survives Ctrl-C, and refuses what would go wrong in silence."""

import signal
import subprocess
import sys

import numpy as np
import pytest

import rnnfast
from rnnfast import nn
from rnnfast._engine import container


def problem(dropout=0.0):
    """Ragged sequences whose mean is to be found."""
    rng = np.random.default_rng(0)
    x, lengths = rng.standard_normal((7, 60, 2)).astype("f"), rng.integers(1, 8, 60)
    y = np.array([x[:n, i].mean() for i, n in enumerate(lengths)], "f")[:, None]
    model = nn.Sequential(nn.Recurrent(rnnfast.GRU(2, 8, rng=0), "last"), nn.Dropout(dropout), nn.Dense(8, 1, rng=1))
    return model, x, y, lengths


def train(model, x, y, lengths, epochs, **options):
    adam = nn.Adam(model.params, 0.02)
    split = (x[:, :40], y[:40]), {"lengths": lengths[:40], "validation": (x[:, 40:], y[40:], lengths[40:])}
    return nn.fit(model, nn.mean_squared_error, adam, *split[0], epochs=epochs, rng=5, batch_size=16, **split[1], **options)


def test_fit_learns():
    model, x, y, lengths = problem()
    history = train(model, x, y, lengths, 60, metrics={"mae": nn.mean_absolute_error}, clip_norm=1.0)
    assert history["val_loss"][-1] < 0.1 * history["val_loss"][0] and len(history["loss"]) == 60
    again = nn.evaluate(
        model, nn.mean_squared_error, x[:, 40:], y[40:], lengths=lengths[40:], metrics={"mae": nn.mean_absolute_error}
    )
    assert np.isclose(again["loss"], history["val_loss"][-1]) and np.isclose(again["mae"], history["val_mae"][-1])
    parts = nn.predict(model, x, lengths=lengths, batch_size=7)
    assert np.array_equal(parts, model(x, lengths=lengths)) or np.allclose(parts, model(x, lengths=lengths), atol=1e-6)


def test_early_stopping_restores_the_best():
    model, x, y, lengths = problem()
    history = train(model, x, y, lengths, 400, patience=3)
    best = int(np.argmin(history["val_loss"]))
    assert len(history["loss"]) == best + 5 < 400
    now = nn.evaluate(model, nn.mean_squared_error, x[:, 40:], y[40:], lengths=lengths[40:])["loss"]
    assert np.isclose(now, history["val_loss"][best], rtol=1e-6)


@pytest.mark.parametrize("schedule", [lambda: None, lambda: nn.ReduceOnPlateau(0.5, 1), lambda: nn.CosineDecay(9)])
def test_resume_is_exact(tmp_path, schedule):
    """With dropout, shuffling, a schedule and moments: 4 epochs and 5 more are 9 in one go, to the last bit."""
    file = tmp_path / "run.npz"
    whole = problem(0.3)
    history = train(*whole, 9, schedule=schedule())
    train(*problem(0.3), 4, schedule=schedule(), checkpoint=file)
    later = problem(0.3)
    resumed = train(*later, 9, schedule=schedule(), checkpoint=file)
    assert resumed == history
    for name, a in whole[0].params.items():
        assert np.array_equal(later[0].params[name], a)
    assert train(*problem(0.3), 9, schedule=schedule(), checkpoint=file) == history  # nothing left to do


CODE = """
import sys, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it
import numpy as np
sys.path.insert(0, sys.argv[1])
from test_fit import problem, train
module = sys.modules["rnnfast.nn.fit"]
save = module._State.save
def told(self, file):
    save(self, file)
    print(self.epochs, flush=True)
module._State.save = told
try:
    train(*problem(0.3), 100000, checkpoint=sys.argv[2])
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_keeps_the_last_checkpoint(tmp_path):
    file = tmp_path / "run.npz"
    here = str(__file__).rpartition("/")[0]
    child = subprocess.Popen([sys.executable, "-c", CODE, here, str(file)], stdout=subprocess.PIPE, text=True)
    for line in child.stdout:
        if line.strip() == "3":
            child.send_signal(signal.SIGINT)
            break
    rest, _ = child.communicate(timeout=60)
    assert rest.split()[-1] == "stopped"
    done = container.read(file).description["epochs"]
    assert done >= 3
    later, whole = problem(0.3), problem(0.3)
    assert train(*later, done + 3, checkpoint=file) == train(*whole, done + 3)
    assert all(np.array_equal(later[0].params[name], a) for name, a in whole[0].params.items())


def test_a_checkpoint_in_safetensors(tmp_path):
    pytest.importorskip("safetensors", reason="safetensors is not installed (pip install safetensors)")
    file = tmp_path / "run.safetensors"
    train(*problem(0.3), 2, checkpoint=file)
    assert file.read_bytes()[8:9] == b"{"
    later, whole = problem(0.3), problem(0.3)
    assert train(*later, 4, checkpoint=file) == train(*whole, 4)
    assert all(np.array_equal(later[0].params[name], a) for name, a in whole[0].params.items())


def test_fit_refuses(tmp_path):
    model, x, y, lengths = problem()
    adam = nn.Adam(model.params)
    with pytest.raises(ValueError, match="as many samples on axis 1 of x as on axis 0 of y"):
        nn.fit(model, nn.mean_squared_error, adam, x, y[:-1])
    with pytest.raises(ValueError, match="epochs"):
        nn.fit(model, nn.mean_squared_error, adam, x, y, epochs=0)
    with pytest.raises(ValueError, match="lengths"):
        nn.fit(model, nn.mean_squared_error, adam, x, y, lengths=lengths + 7)
    with pytest.raises(FloatingPointError, match="loss: expected finite values, got nan in epoch 1"):
        nn.fit(model, nn.mean_squared_error, adam, x * np.float32(np.nan), y)
    file = tmp_path / "other.npz"
    container.write(file, {}, {"w": np.zeros(3)})
    with pytest.raises(ValueError, match="checkpoint: expected one of this model, optimizer, schedule, data and batch_size"):
        nn.fit(model, nn.mean_squared_error, adam, x, y, checkpoint=file)


def test_fit_refuses_what_would_go_wrong_in_silence(tmp_path):
    (model, x, y, lengths), loss = problem(), nn.mean_squared_error
    adam, file = nn.Adam(model.params), tmp_path / "run.npz"
    with pytest.raises(ValueError, match="optimizer: expected one of exactly model.params"):
        nn.fit(model, loss, nn.Adam(problem()[0].params), x, y)
    with pytest.raises(FloatingPointError, match="validation loss"):
        nn.fit(model, loss, adam, x, y, validation=(x, y * np.float32(np.nan)), patience=1)
    with pytest.raises(FloatingPointError, match=r"0\.weight_ih_l0: expected finite values"):
        nn.fit(model, loss, nn.SGD(model.params, 1e39), x, y, epochs=1, batch_size=60, checkpoint=file)
    assert not file.exists()
    model, x, y, lengths = problem()
    adam = nn.Adam(model.params)
    for options, text in (
        ({"metrics": {"loss": nn.mean_absolute_error}}, "metrics"),
        ({"patience": -1}, "patience"),
        ({"clip_norm": -1.0}, "max_norm"),
        ({"batch_axes": (-1, 0)}, "batch_axes"),
        ({"validation": (x, y, None, None)}, "validation"),
        ({"checkpoint": tmp_path / "none" / "run.npz"}, "checkpoint"),
    ):
        with pytest.raises(ValueError, match=text):
            nn.fit(model, loss, adam, x, y, **options)
    with pytest.raises(ValueError, match="batch_size"):
        nn.evaluate(model, loss, x, y, batch_size=-1)
    sequence = nn.Sequential(rnnfast.GRU(2, 3, rng=0))
    with pytest.raises(ValueError, match="batch_axes: expected 60 samples on axis 0 of the output"):
        nn.predict(sequence, x)
    assert nn.predict(sequence, x, batch_axes=(1, 1)).shape == (7, 60, 3)
    model, x, y, lengths = problem()
    nn.fit(model, loss, nn.Adam(model.params), x, y, epochs=1, rng=0, checkpoint=file)
    for other, data, options in (
        (nn.SGD(model.params, 1), y, {}),
        (nn.Adam(model.params), y + 1, {}),
        (nn.Adam(model.params), y, {"batch_size": 8}),
        (nn.Adam(model.params), y, {"schedule": nn.CosineDecay(3)}),
    ):
        with pytest.raises(ValueError, match="checkpoint: expected one of this model"):
            nn.fit(model, loss, other, x, data, epochs=2, checkpoint=file, **options)
    file.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="checkpoint: expected a file that fit has written"):
        nn.fit(model, loss, nn.Adam(model.params), x, y, checkpoint=file)


def test_a_longer_schedule_and_another_generator_resume(tmp_path):
    file = tmp_path / "run.npz"
    model, x, y, _ = problem()
    rng = np.random.Generator(np.random.MT19937(1))
    options = {"rng": rng, "checkpoint": file}
    nn.fit(model, nn.mean_squared_error, nn.Adam(model.params, 0.1), x, y, epochs=2, schedule=nn.CosineDecay(2), **options)
    adam = nn.Adam(model.params, 0.1)
    history = nn.fit(model, nn.mean_squared_error, adam, x, y, epochs=4, schedule=nn.CosineDecay(4), **options)
    assert np.allclose(history["lr"], [0.1, 0.05, 0.05, 0.1 * nn.CosineDecay(4)(3, 0)]) and adam.lr == 0.1
