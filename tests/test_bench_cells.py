"""bench/cells.py: the cells in JAX and PyTorch are rnnfast's, its bars pass and fail as they should, its tables hold every
cell, a short run works."""

import sys

import numpy as np
import pytest

import cells
import cells_bars
import cells_page
import cells_peers
import cells_start
from cells_bars import BARS, SMALL
from cells_peers import COMPILED, FRAMEWORKS, OPTIONS
from cells_steps import MEMORY, PRODUCTS, STEPS
from page import by_threads
from results import Results, Row
from rnnfast import zoo
from rnnfast.proof.contenders import Task
from rnnfast.proof.race import Race
from rnnfast.shapes import BY_NAME, SHAPES, Shape

LITTLE = Shape("little", 5, 7, 3, 6, "")
DEEP = Shape("deep", 5, 7, 3, 6, "", num_layers=2, bidirectional=True)


# ---- contenders ------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def errors():
    """In float64, by contender: (cell, training) -> error against rnnfast."""
    names = [name for name, contender in FRAMEWORKS.items() if not contender.missing()]
    found = {name: {} for name in names}
    with Race(names, 2, FRAMEWORKS) as race:
        for cell in STEPS:
            for training in (False, True):
                for time in race.run(Task(cell, LITTLE, training, "float64"), rounds=1, patience=0):
                    found[time.contender][cell, training] = time.error
    assert not race.failed
    return found


@pytest.mark.parametrize("name", [name for name in FRAMEWORKS if name != "rnnfast"])
def test_contenders_agree(errors, name):
    """y, and in training the gradients of x, every parameter and every state."""
    if missing := FRAMEWORKS[name].missing():
        pytest.skip(f"{FRAMEWORKS[name].title} is not there: {', '.join(missing)} not installed")
    assert errors[name].keys() == {(cell, training) for cell in STEPS for training in (False, True)}
    assert all(error is not None and error < 1e-12 for error in errors[name].values()), errors[name]


@pytest.mark.parametrize("shape", [LITTLE, DEEP, LITTLE._replace(B=1, T=1)], ids=["little", "deep", "step"])
@pytest.mark.parametrize("cell", ["SimpleRNN", "LSTM", "GRU"])
def test_interpreted_and_compiled_have_the_same_bits(cell, shape):
    for training in (False, True):
        found = [contender.make(Task(cell, shape, training), 1)() for contender in COMPILED.values()]
        assert len(found[0]) == len(found[1]) == (2 + 4 * shape.num_layers * shape.directions if training else 1)
        for a, b in zip(*found, strict=True):
            np.testing.assert_array_equal(a, b)


def test_gradients_of_the_states_are_compared():
    task = Task("SLSTM", LITTLE, True, "float64")
    arrays = FRAMEWORKS["rnnfast"].make(task, 1)()
    assert [a.shape for a in arrays[-4:]] == [(1, 3, 7)] * 4 and all(np.abs(a).max() > 0 for a in arrays[-4:-1])


@pytest.mark.parametrize("cell", [*OPTIONS, *zoo.CELLS])
def test_costed_cells_are_their_formulas(cell, monkeypatch):
    task = Task(cell, LITTLE, False)
    assert cells_peers.costed_task(task, 1)()()[0].tolist() == [6, 3, 7]
    right = cells_peers.reference.run
    monkeypatch.setattr(cells_peers.reference, "run", lambda *a, **k: (right(*a, **k)[0] + 0.01, None))
    with pytest.raises(ValueError, match=f"{cell}: y differs from the formula's by"):
        cells_peers.costed_task(task, 1)


# ---- bars and tables -------------------------------------------------------------------------------------------------------
FACTORS = {
    "rnnfast": 1.0,
    "compiled": 1.0,
    "jax": 2.0,
    "jax:2 unrolled": 1.8,
    "jax:4 unrolled": 1.9,
    "torch": 9.0,
    "plain": 1.0,
}


@pytest.fixture
def good():
    """Results that pass every bar."""
    starts = {name: {"construction": 0.03, "forward": 0.005, "training": 0.01} for name in zoo.CELLS}
    head = {"machine": {"cpu": "some CPU", "isa": "scalar", "cpus": 2, "compiler": "cc", "python": "3", "load": 0.1}}
    head["machine"]["date"] = "2000-01-01T00:00"
    head.update(versions={"rnnfast": "0"}, absent={}, seconds=1.0)
    head["starts"] = {"cells": starts, "import": {"rnnfast": 0.04, "zoo": 0.1, "before": 0.04}, "modules": []}
    figures = {name: {"seconds": 1e-3 * factor, "spread": 1.1, "error": None} for name, factor in FACTORS.items()}
    rows = [
        Row(name, threads, task, {other: dict(figures[other]) for other in contenders})
        for name, (tasks, contenders) in cells.SECTIONS.items()
        for threads in (1, 2)
        for task in tasks
    ]
    return Results(head, rows)


def verdicts(results):
    return {bar.title: bar.verdict for bar in (make(results) for make in BARS)}


def test_all_bars_pass(good):
    found = verdicts(good)
    assert len(found) == len(BARS) == 10 and set(found.values()) == {"pass"}, cells_bars.summary(good)
    assert set(verdicts(Results({**good.head, "starts": {}}, [])).values()) == {"none"}


@pytest.mark.parametrize(
    ("title", "section", "name", "factor", "wanted"),
    [
        ("on all other shapes", "compiled", "compiled", 0.92, lambda task: True),
        ("on all other shapes", "compiled", "compiled", 0.79, lambda task: task.shape.name == "bb-h256-b32"),
        ("on sine-h32 and stream-h64", "compiled", "compiled", 0.54, lambda task: task.shape.name in SMALL),
        ("forward / JAX", "frameworks", "jax:2 unrolled", 0.85, lambda task: not task.training),
        ("training / JAX", "frameworks", "jax:4 unrolled", 0.49, lambda task: task.training and task.cell == "MGU"),
        ("forward / PyTorch", "frameworks", "torch", 0.6, lambda task: not task.training),
        ("training / PyTorch", "frameworks", "torch", 0.15, lambda task: task.training and task.cell == "LEM"),
        ("LSTM zoneout", "plain", "rnnfast", 1.16, lambda task: task.cell == "LSTM zoneout"),
        ("LayerNormLSTM", "plain", "rnnfast", 1.51, lambda task: task.cell == "LayerNormLSTM"),
    ],
)
def test_each_bar_fails(good, title, section, name, factor, wanted):
    """One contender of some rows is made slower or faster; the other bars stay."""
    for row in good.of(section):
        if wanted(row.task):
            row.times[name]["seconds"] *= factor
    found = verdicts(good)
    assert [title in of for of, verdict in found.items() if verdict == "FAIL"] == [True], cells_bars.summary(good)


def test_cells_without_products_have_no_bar(good):
    for row in good.of("frameworks"):
        if row.task.cell in MEMORY:
            row.times["jax"]["seconds"] *= 0.1
    assert set(verdicts(good).values()) == {"pass"}
    assert set(PRODUCTS) | set(MEMORY) == set(STEPS) and len(PRODUCTS) == 8


def test_bars_of_the_beginning(good):
    good.head["starts"]["cells"]["LEM"]["training"] = 0.021
    good.head["starts"]["import"]["rnnfast"] = 0.043
    assert list(verdicts(good).values())[-2:] == ["FAIL", "FAIL"] and "LEM: 51 ms" in cells_bars.summary(good)
    good.head["starts"].update(modules=["rnnfast.formula"], cells={})
    assert "rnnfast.formula is imported" in cells_bars.summary(good)


def test_tables(good):
    row = next(r for r in good.of("frameworks", threads=2, cell="MGU", training=True) if r.task.shape.name == "sine-h32")
    row.times["jax"]["seconds"] = 0.9 * row.own
    text = cells_page.page(good)
    assert "| MGU | 1.80 / **0.90** | 1.80 / 1.80 | 1.80 / 1.80 | 1.80 / 1.80 |" in text
    assert all(f"| {cell} | 9.00 / 9.00 |" in text for cell in STEPS)
    assert all(f"| {shape.name} | 1.00 / 1.00 |" in text for shape in SHAPES)
    assert f"| geometric mean | 1.80 / {1.8 * 0.5 ** (1 / 8):.2f} |" in text
    assert "some CPU" in text and "| LEM | 30.0 | 5.0 | 10.0 |" in text and "pass  forward / JAX" in text
    assert by_threads({1: 0.5, 2: 3}, [1, 2, 4]) == "**0.50** / 3.00 / -" and by_threads({}, [1]) == "-"


def test_the_table_of_the_zoo(good):
    next(iter(good.of("plain", cell="GRU", training=True))).times["rnnfast"]["seconds"] *= 0.75
    lines = {line.split("`")[1]: line for line in cells_page.gallery(good).splitlines() if line.startswith("| `")}
    assert list(lines) == list(zoo.CELLS)
    times = "1.00 / 1.00 | 1.00 / 1.00 |"
    first = "| `LSTM` | Hochreiter & Schmidhuber 1997; Gers et al. 2000 | h c | 4 in 1 phase | 5 |"
    assert lines["LSTM"] == f"{first} {times}"
    assert lines["GRU"] == "| `GRU` | Cho et al. 2014 | h | 3 in 1 phase | 4 | 1.00 / 1.00 | 0.75 / 1.00 |"
    assert lines["SimpleRNN"] == f"| `SimpleRNN` | Elman 1990 | h | 1 in 1 phase | 0 | {times}"
    assert lines["MGU"].startswith("| `MGU` | Zhou et al. 2016 | h | 2 in 2 phases |")
    assert lines["SRU"].startswith("| `SRU` | Lei et al. 2018 | c | none |")


def test_pages_are_filled(good, tmp_path, monkeypatch):
    good.write(tmp_path / "cells.json")
    pages = [tmp_path / "a.md", tmp_path / "b.md"]
    pages[0].write_text("# A\n\n<!-- speed of cells -->\nold\n<!-- /speed of cells -->\n\nend\n")
    pages[1].write_text("<!-- zoo -->\n<!-- /zoo -->\n")
    monkeypatch.setattr(sys, "argv", ["cells_page.py", str(tmp_path / "cells.json"), *map(str, pages)])
    cells_page.main()
    first, second = (page.read_text() for page in pages)
    assert first.startswith("# A\n\n<!-- speed of cells -->\nsome CPU") and first.endswith("<!-- /speed of cells -->\n\nend\n")
    assert "old" not in first and "Interpreted formula" in first and "| `LEM` |" in second
    monkeypatch.setattr(sys, "argv", sys.argv[:3])
    with pytest.raises(AssertionError, match="no page has the marks of zoo"):
        cells_page.main()


# ---- a run -----------------------------------------------------------------------------------------------------------------
def test_a_short_run(tmp_path, capsys, monkeypatch):
    """Stopped in the second race, it goes on from there."""
    right, races = Race.run, []

    def run(self, task, *rest):
        races.append(task)
        if len(races) == 2:
            raise KeyboardInterrupt
        return right(self, task, *rest)

    monkeypatch.setattr(Race, "run", run)
    arguments = ["--threads", "1", "--sections", "compiled,plain", "--shapes", "bb-h256-b32", "--cells", "SimpleRNN"]
    arguments += ["--rounds", "3", "--patience", "0", "--out", str(tmp_path)]
    with pytest.raises(KeyboardInterrupt):
        cells.main(arguments)
    assert cells.main([*arguments, "--resume"]) == 0 and len(races) == 5
    text = capsys.readouterr().out
    assert "All contenders computed the same" in text and "| bb-h256-b32 |" in text
    rows = Results.read(tmp_path / "cells.json").rows
    assert [(row.section, row.task.training) for row in rows] == [(s, t) for s in ("compiled", "plain") for t in (False, True)]
    assert all(row.times["rnnfast"]["rounds"] == 3 for row in rows) and rows[0].times["compiled"]["error"] == 0
    assert (tmp_path / "cells.md").read_text().startswith("# Cells as formulas")


def test_starts(monkeypatch):
    """One cell, in processes of its own."""
    monkeypatch.setattr(cells_start.zoo, "CELLS", {"TLSTM": zoo.TLSTM})
    found = cells_start.starts(sys.executable, 1)
    assert found["cells"].keys() == {"TLSTM"} and found["cells"]["TLSTM"]["construction"] > 0
    assert found["import"].keys() == {"rnnfast", "zoo", "before"} and min(found["import"].values()) > 0


def test_bad_options(capsys):
    for wrong in (["--sections", "x"], ["--shapes", "x"], ["--cells", "x"], ["--threads", "0"]):
        with pytest.raises(SystemExit):
            cells.main(wrong)
        assert "expected" in capsys.readouterr().err
    assert {task.shape for section in cells.SECTIONS.values() for task in section.tasks} <= set(BY_NAME.values())
