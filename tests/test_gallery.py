"""docs/gallery.md is what bench/gallery.py writes, and names the machine and the BLAS that its figures come from."""

import re
from pathlib import Path

import numpy as np

import gallery

DOCS = Path(__file__).parent.parent / "docs"
MACHINE = r"Machine: \d+ cores of .+, NumPy \d[\w.]+, BLAS \S+ \d[\w.]*, \d{4}-\d\d-\d\d\."


def test_the_machine_and_its_blas_are_named():
    text = gallery.head({"cpus": 2, "cpu": "some CPU", "isa": "avx2", "date": "2026-01-31T12:00"})
    blas = np.show_config("dicts")["Build Dependencies"]["blas"]
    assert f"NumPy {np.__version__}, BLAS {blas['name']} {blas['version']}, 2026-01-31." in text
    assert re.search(MACHINE, text)


def test_a_section():
    show = gallery.Show("sine", "Waves", "Learns a wave.", ("--seed", "\u4e2d"), "wave.png", "sine")
    rows = [{"program": "sine", "threads": n, "epoch": 10, "rnnfast": 0.001, "torch": 0.004} for n in (1, 2)]
    text = gallery.section(show, "loss 1", 2.6, rows)
    assert text.startswith('## Waves\n\nLearns a wave.\n\n`python examples/sine.py --seed "\u4e2d"` takes 3 s. ')
    assert "takes PyTorch 4.0 times as long on 1 thread, 4.0 times as long on 2 threads.\n\n```\nloss 1\n```" in text
    assert text.endswith("![Waves](img/gallery-wave.png)")


def test_the_page_on_file_is_of_this_generator():
    text = (DOCS / "gallery.md").read_text(encoding="utf-8")

    def plain(part):
        """Without what differs between machines."""
        return re.sub(r" takes \d+ s\..*|Machine: .*", "", part)

    machine = {"cpus": 0, "cpu": "", "isa": "", "date": ""}
    assert plain(text).startswith(plain(gallery.head(machine))) and re.search(MACHINE, text)
    sections = {part.partition("\n")[0]: part for part in re.split(r"\n\n(?=## )", text.rstrip())[2:]}
    assert list(sections) == [f"## {show.title}" for show in gallery.SHOWS]
    for show, part in zip(gallery.SHOWS, sections.values(), strict=True):
        printed = re.findall(r"```\n(.*)\n```", part, re.DOTALL)[0]
        assert plain(part) == plain(gallery.section(show, printed, 0, []))
        assert not show.picture or (DOCS / "img" / f"gallery-{show.picture}").exists()


def test_one_section_anew(monkeypatch):
    """The others stay as they are, and versions of the packages named are told."""
    shows = (gallery.Show("sine", "Waves", "Learns."), gallery.Show("embed_c", "In C", "Plays.", packages=("numpy",)))
    monkeypatch.setattr(gallery, "SHOWS", shows)
    monkeypatch.setattr(gallery, "run", lambda show: ("the same bits", 2.0))
    before = "# Gallery\n\nMachine\n\n## Against PyTorch\n\ntable\n\n## Waves\n\nas it was\n"
    after = gallery.renewed(before, ["embed_c"], [])
    assert after.startswith(before + "\n## In C\n\nPlays.\n\n`cd examples/embed_c && python setup.py build_ext --inplace && ")
    assert f"python main.py` takes 2 s. With numpy {np.__version__}, 20" in after and after.endswith("the same bits\n```\n")
    assert "as it was" not in gallery.renewed(after, ["sine"], [])


def test_every_program_is_shown():
    examples = DOCS.parent / "examples"
    programs = {path.stem for path in examples.glob("*.py")} | {path.parent.name for path in examples.glob("*/main.py")}
    assert {show.program for show in gallery.SHOWS} == programs - {"common"}
