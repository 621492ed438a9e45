"""bench/compare.py: its contenders agree on every kind of task, its bars pass and fail as they should, a short run works and
goes on where it was stopped."""

import numpy as np
import pytest

import bars
import compare
from limit import buffer, least_seconds, level_of
from page import page, speed
from peers import HOW, PEERS
from results import Results, Row, geomean, peer_of
from rnnfast._kernels import _core, _testing
from rnnfast.cells import CELLS
from rnnfast.proof.contenders import Task
from rnnfast.proof.race import Race, Time
from rnnfast.shapes import BY_NAME, SHAPES, Shape
from sections import SECTIONS, entries
from verdict import counts, losses, sentence

# ---- contenders ------------------------------------------------------------------------------------------------------------
PLAIN, DEEP = Shape("plain", 5, 7, 3, 6, ""), Shape("deep", 5, 7, 3, 6, "", num_layers=2, bidirectional=True)
STEP, LENGTHS = Shape("step", 5, 7, 1, 1, ""), (4, 6, 1)
ONE, EIGHT = {"jax"}, {"jax:unrolled"}
STEPPERS = {"numpy", "torch", "torch:cell", "torch:compiled", "onnxruntime", "openvino", *ONE}
KINDS = {  # arguments of Task after the cell, the paths that do it, and of LSTM alone
    "deep forward": ((DEEP, False), {"numpy", "torch", "onnxruntime", "openvino", *ONE, *EIGHT}, {"torch:compiled"}),
    "deep training": ((DEEP, True), {"torch", *ONE, *EIGHT}, set()),
    "float64 forward": ((PLAIN, False, "float64"), {"numpy", "torch", *ONE, *EIGHT}, set()),
    "float64 training": ((PLAIN, True, "float64"), {"numpy", "torch", *ONE, *EIGHT}, set()),
    "ragged forward": (
        (PLAIN, False, "float32", LENGTHS),
        {"torch", "torch:padded", "onnxruntime", "openvino", *ONE, *EIGHT},
        {"torch:compiled"},
    ),
    "ragged training": ((PLAIN, True, "float32", LENGTHS), {"torch", "torch:padded", *ONE, *EIGHT}, set()),
    "deep ragged forward": ((DEEP, False, "float32", LENGTHS), {"torch", "onnxruntime"}, set()),
    "deep ragged training": ((DEEP, True, "float32", LENGTHS), {"torch"}, set()),
    "single step": ((STEP, False), STEPPERS, set()),
    "single step, float64": ((STEP, False, "float64"), {"numpy", "torch", "torch:cell", *ONE}, set()),
    "step of a stream": ((STEP, False, "float32", None, True), STEPPERS, set()),
}
RACERS = [name for name in PEERS if peer_of(name) in compare.DEFAULT_PEERS]


@pytest.fixture(scope="module")
def errors():
    """For each cell and kind the errors of those that did it, and what failed."""
    names = ["rnnfast", *(name for name in RACERS if not PEERS[name].missing())]
    with Race(names, 2, PEERS) as race:
        found = {
            (cell, kind): {t.contender: t.error for t in race.run(Task(cell, *task), rounds=1) if t.seconds is not None}
            for cell in CELLS
            for kind, (task, *_) in KINDS.items()
        }
    return found, race.failed


@pytest.mark.parametrize("name", RACERS)
def test_contenders_agree(errors, name):
    if missing := PEERS[name].missing():
        pytest.skip(f"{PEERS[name].title} is not there: {', '.join(missing)} not installed")
    found, failed = errors
    if name == "torch:compiled" and name in failed:
        pytest.skip(f"PyTorch cannot compile here: {failed[name]}")
    assert name not in failed
    for (cell, kind), of in found.items():
        _, all_cells, lstm = KINDS[kind]
        assert (name in of) == (name in all_cells or (name in lstm and cell == "lstm")), (cell, kind)
        if name in of:
            assert of[name] < (1e-12 if "float64" in kind else 1e-4), (cell, kind)


def test_a_compiler_that_is_not_there_is_told(monkeypatch):
    """PyTorch's compiled path needs one for C++; the usual path goes on."""
    if PEERS["torch"].missing():
        pytest.skip("PyTorch is not installed")
    monkeypatch.setenv("CXX", "/no/such/compiler")
    monkeypatch.setenv("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
    with Race(["rnnfast", "torch", "torch:compiled"], 1, PEERS) as race:
        times = race.run(Task("gru", STEP, False), rounds=1)
    assert [t.contender for t in times if t.seconds is not None] == ["rnnfast", "torch"]
    assert "compiler" in race.failed["torch:compiled"]


# ---- bars ------------------------------------------------------------------------------------------------------------------
CACHES = {"L1": {"bytes": 2**15, "cpus": 1}, "L2": {"bytes": 2**20, "cpus": 1}, "L3": {"bytes": 2**25, "cpus": 2}}
LEVELS = (*CACHES, "memory")
LIMITS = {str(n): {"fma": {"float32": n * 1e11, "float64": n * 5e10}, "load": dict.fromkeys(LEVELS, n * 1e13)} for n in (1, 2)}
FACTORS = dict.fromkeys(RACERS, 9.0) | {"numpy": 100.0, "torch": 4.0, "onnxruntime": 6.0, "openvino": 3.0, "jax": 3.0}


def figures(seconds):
    return {"seconds": seconds, "spread": 1.1, "error": None, "rounds": 7}


@pytest.fixture
def good():
    """Results that pass every bar."""
    head = {"machine": {"cpu": "none", "isa": "scalar", "cpus": 2, "caches": CACHES, "compiler": "cc", "python": "3"}}
    head["machine"].update(date="2000-01-01T00:00", load=0.6)
    head.update(versions={"rnnfast": "0"}, absent={}, limits=LIMITS, paths={}, seconds=1.0)
    rows = []
    for section, threads, task, names in entries(list(SECTIONS), [1, 2], list(FACTORS), None, list(CELLS)):
        share = sum(task.lengths) / (task.shape.B * task.shape.T) if task.lengths else 1.0
        own = share * least_seconds(task, threads, LIMITS[str(threads)], CACHES) / 0.9
        times = {name: figures(own * FACTORS.get(name, 1.0)) for name in names}
        rows.append(Row(section, threads, task, times))
    return Results(head, rows)


def verdicts(results):
    return {make(results).title: make(results).verdict for make in bars.BARS}


def test_all_bars_pass(good):
    found = verdicts(good)
    assert len(found) == len(bars.BARS) == 13 and set(found.values()) == {"pass"}, bars.summary(good)


@pytest.mark.parametrize(
    ("title", "wanted", "factor"),
    [
        ("forward / best peer", {"section": "forward", "name": "openvino"}, 0.3),
        ("training / best peer", {"section": "training", "name": "jax"}, 0.38),
        ("forward / NumPy loop:", {"section": "forward", "name": "numpy"}, 0.02),
        ("LSTM of sine-h32", {"section": "forward", "name": "numpy", "shape": "sine-h32"}, 0.5),
        ("FMA peak", {"section": "training", "name": "rnnfast", "shape": "bb-h256-b32"}, 1.2),
        ("machine's limit", {"section": "forward", "name": "rnnfast", "shape": "shake-h256"}, 1.2),
        ("step of 64", {"section": "step", "name": "onnxruntime", "shape": "stream-h64"}, 0.5),
        ("step of 256", {"section": "step", "name": "onnxruntime", "shape": "stream-h256"}, 0.3),
        ("ragged forward", {"section": "ragged", "name": "torch:padded"}, 0.2),
        ("ragged training", {"section": "ragged", "name": "torch"}, 0.5),
        ("mean length", {"section": "ragged", "name": "rnnfast", "lengths": True}, 1.3),
        ("float64", {"section": "float64", "name": "torch", "shape": "sent-h64"}, 0.2),
        ("two threads / one", {"section": "forward", "name": "rnnfast", "shape": "char-h128", "threads": 2}, 3.0),
    ],
)
def test_each_bar_fails(good, title, wanted, factor):
    """One contender of some rows is made slower or faster."""
    for row in good.rows:
        if (
            row.section == wanted["section"]
            and wanted.get("shape") in (None, row.task.shape.name)
            and wanted.get("threads") in (None, row.threads)
            and (bool(row.task.lengths) or not wanted.get("lengths"))
            and wanted["name"] in row.times
        ):
            row.times[wanted["name"]]["seconds"] *= factor
    found = {name: verdict for name, verdict in verdicts(good).items() if title in name}
    assert set(found.values()) == {"FAIL"}, bars.summary(good)
    assert bars.summary(good).count("FAIL") <= 3


def test_a_losing_row_is_named_with_both_medians(good):
    row = next(r for r in good.of("forward", threads=2, cell="gru") if r.task.shape.name == "sine-h32")
    row.times["jax:unrolled"]["seconds"] = 0.9 * row.own
    figures = f"{row.own * 1e3:.4g} ms, {{}} {0.9 * row.own * 1e3:.4g} ms (0.90)"
    assert f"sine-h32 gru forward, 2 threads: {figures.format('jax:unrolled')}" in bars.summary(good)
    assert losses(good) == [
        f"sine-h32 gru forward, 2 threads (one series of numbers, 32 units): {figures.format('JAX, unrolled')}"
    ]
    number = len(good.of("forward"))
    forward = counts(good)[0]
    assert (len(forward.found), len(forward.lost)) == (number, 1) and forward.mean == pytest.approx(3 * 0.3 ** (1 / number))
    assert "and loses 1, at worst on sine-h32 (one series of numbers, 32 units)." in sentence(good)
    assert "**0.90**" in speed(good) and "**0.90** unrolled" in page(good, [])


def test_the_fastest_path_counts(good):
    row = good.of("step")[0]
    row.times["torch:cell"]["seconds"], row.times["torch:compiled"]["seconds"] = 2 * row.own, None
    assert row.path("torch") == "torch:cell" and row.ratio("torch") == pytest.approx(2)
    assert row.best() == row.best(["torch", "jax"]) == ("torch:cell", pytest.approx(2))
    assert row.best(["keras"]) is None and row.ratio("keras") is None and "keras" not in row.peers


def test_the_page_opens_with_the_verdict(good):
    """What was compared, who won, how; the targets come last."""
    text = page(good, [("img/speed.png", "at a glance"), ("img/peak.png", "peak")])
    order = ["against NumPy loop, PyTorch", sentence(good), "![at a glance](img/speed.png)", "## Where rnnfast loses"]
    order += [
        "## How it was measured",
        "## All figures",
        "![peak](img/peak.png)",
        "## The project's own targets",
        "pass  forward",
    ]
    assert sorted(map(text.index, order)) == list(map(text.index, order))
    assert all(f"{shape.name}: {shape.what} (" in text for shape in SHAPES) and all(shape.what for shape in SHAPES)
    assert {peer_of(name) for name in PEERS} == set(HOW)
    assert "![" not in page(good, [])


def test_plots(good, tmp_path):
    """Each has a title, and labels of its axes."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed").use("Agg")
    from matplotlib import pyplot

    import plots

    made = {}
    for make in (plots.glance, plots.by_shape, plots.peak, plots.loads, plots.scaling):
        for name, title, figure in make(good, pyplot):
            made[name] = title
            labels = [figure.get_supxlabel(), *(axes.get_xlabel() for axes in figure.axes)]
            assert title == figure.get_suptitle() and any(labels) and figure.axes[0].get_ylabel()
            pyplot.close(figure)
    assert plots.draw(good, tmp_path) == [(f"{name}.png", title) for name, title in made.items()]
    assert next(iter(made)) == "speed" and len(made) == len(set(made.values())) == 12
    assert {file.name for file in tmp_path.iterdir()} == {f"{name}.png" for name in made}


def test_nothing_measured_is_no_verdict(good):
    assert set(verdicts(Results(good.head, [])).values()) == {"none"}


def test_results_survive_the_file(good, tmp_path):
    good.write(tmp_path / "r.json")
    again = Results.read(tmp_path / "r.json")
    assert again.rows == good.rows and again.head == good.head
    assert "busy before the run (load 0.6)" in page(again, [])


def test_least_seconds():
    """By hand: 1 GHz of multiply-adds, 1 GB/s from L1, slower from below."""
    limits = {"fma": {"float32": 1e9}, "load": {"L1": 1e9, "L2": 5e8, "L3": 2e8, "memory": 1e8}}
    T, B, I, H = 10, 2, 8, 16
    task = Task("gru", Shape("x", I, H, B, T, ""), False)
    by_reading = T * 3 * H * H * 4 / 1e9
    by_products = T * 2 * B * 3 * H * H / 1e9
    assert by_products > by_reading / 2
    assert least_seconds(task, 1, limits, CACHES) == pytest.approx(task.flops / 1e9 + max(0, by_reading - by_products))
    assert least_seconds(task._replace(training=True), 1, limits, CACHES) == pytest.approx(3 * task.flops / 1e9)
    one = Task("gru", Shape("x", I, H, 1, 1, ""), False)
    assert least_seconds(one, 1, limits, CACHES) == pytest.approx(3 * H * (I + H) * 4 / 1e9)
    assert [level_of(n, 1, CACHES) for n in (1000, 30000, 2**20, 2**25)] == ["L1", "L2", "L3", "memory"]
    assert level_of(2**20, 2, CACHES) == "L2" and level_of(2**25, 2, CACHES) == "memory"
    assert geomean([1, 4]) == pytest.approx(2)


def test_probes(isa, dtype):
    """They count what they did: 24 vectors at most side by side."""
    number = _core.compiled_isas().index(isa)
    assert _testing.probe_fma(number, dtype.itemsize, 10) == 10 * _testing.probe_fma(number, dtype.itemsize, 1) > 0
    data = buffer(4096).view(dtype)
    assert 0 <= 4096 * 3 - _testing.probe_load(number, data, 3) < 3 * 2048
    assert data.ctypes.data % 64 == 0 and not np.any(data)


# ---- a run -----------------------------------------------------------------------------------------------------------------
ARGUMENTS = ["--quick", "--peers", "numpy", "--threads", "1", "--shapes", "sine-h32"]


def test_a_short_run(tmp_path, capsys, monkeypatch):
    """Stopped in the third race, it keeps the first two and goes on from there."""
    right, races = Race.run, []

    def run(self, task, *rest):
        races.append(task)
        if len(races) == 3:
            raise KeyboardInterrupt
        return right(self, task, *rest)

    monkeypatch.setattr(Race, "run", run)
    arguments = [*ARGUMENTS, "--out", str(tmp_path)]
    with pytest.raises(KeyboardInterrupt):
        compare.main(arguments)
    assert len(Results.read(tmp_path / "compare.json").rows) == 2
    assert compare.main([*arguments, "--resume"]) == 0
    assert len(races) == 3 + 4
    text = capsys.readouterr().out
    assert "forward / NumPy loop" in text and "All contenders computed the same" in text
    results = Results.read(tmp_path / "compare.json")
    assert {(r.section, r.task.cell) for r in results.rows} == {(s, c) for s in ("forward", "training") for c in CELLS}
    assert results.head["limits"]["1"]["fma"]["float32"] > 0
    assert (tmp_path / "compare.md").read_text().startswith("# Benchmarks")


def test_a_race_with_fewer_peers_does_not_count_and_gives_way():
    results = Results({}, [])
    few, all_of_them = (next(entries(["forward"], [1], names, None, list(CELLS))) for names in ([], ["torch", "torch:cell"]))
    results.add(few, [Time(few.task, "rnnfast", 1.0)])
    assert results.has(few) and not results.has(all_of_them)
    results.add(all_of_them, [Time(few.task, name, 2.0) for name in all_of_them.names])
    assert results.has(few) and results.has(all_of_them) and [row.own for row in results.rows] == [2.0]


def test_bad_options(capsys):
    for wrong in (
        ["--peers", "nobody"],
        ["--peers", "torch:cell"],
        ["--sections", "x"],
        ["--shapes", "x"],
        ["--cells", "x"],
        ["--threads", "x"],
    ):
        with pytest.raises(SystemExit):
            compare.main(wrong)
        assert "expected" in capsys.readouterr().err


def test_shapes_of_layers():
    assert BY_NAME["bi-h256"].places == [("l0", 256), ("l0_reverse", 256)]
    assert BY_NAME["deep-h512"].places == [("l0", 512), ("l1", 512)]
    assert Task("lstm", BY_NAME["bi-h256"], True).flops == 3 * 2 * 2 * 100 * 4 * 256 * 512
    assert len(SHAPES) == 13
