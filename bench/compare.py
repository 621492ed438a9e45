"""rnnfast and its peers side by side: ``python bench/compare.py --threads 1,2 --out results/``. See bench/README.md."""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Collection, Mapping
from itertools import groupby
from pathlib import Path

import bars
import limit
import page
import paths
import tables
import verdict
from machine import machine, versions
from peers import PEERS
from results import Results, peer_of
from rnnfast.cells import CELLS
from rnnfast.progress import progress
from rnnfast.proof.contenders import Contender
from rnnfast.proof.race import Race
from sections import SECTIONS, Entry, entries

DEFAULT_PEERS = ("numpy", "torch", "onnxruntime", "openvino", "jax")
QUICK = {"shapes": ["stream-h64", "sine-h32"], "sections": ["forward", "training", "step"]}
QUICK_RACE = {"rounds": 3, "patience": 0.1}


def listed(choices: Collection[str]) -> Callable[[str], list[str]]:
    """Type of an option: names apart by commas, each among the choices."""

    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in choices:
                raise argparse.ArgumentTypeError(f"expected some of {', '.join(choices)}, got {name!r}")
        return names

    return parse


def counts(text: str) -> list[int]:
    """Type of an option: whole numbers from 1 on."""
    numbers = text.split(",")
    if not all(n.isdecimal() and int(n) for n in numbers):
        raise argparse.ArgumentTypeError(f"expected numbers like 1,2, got {text!r}")
    return [int(n) for n in numbers]


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    shapes = list(dict.fromkeys(task.shape.name for section in SECTIONS.values() for task in section.tasks))
    parser.add_argument("--threads", type=counts, default=[1, 2], help="numbers of threads, default 1,2")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for compare.json, compare.md and plots")
    parser.add_argument("--sections", type=listed(SECTIONS), help=f"some of {','.join(SECTIONS)}")
    parser.add_argument("--shapes", type=listed(shapes), help="some of them, by name")
    parser.add_argument("--cells", type=listed(CELLS), default=list(CELLS), help=f"some of {','.join(CELLS)}")
    peers = [name for name in PEERS if name == peer_of(name) != "rnnfast"]
    parser.add_argument("--peers", type=listed(peers), default=list(DEFAULT_PEERS), help=f"some of {','.join(peers)}")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of each race, at least 3")
    parser.add_argument("--patience", type=float, default=3.0, help="seconds after which a race ends, 3 rounds done")
    parser.add_argument("--minutes", type=float, default=60.0, help="races are cut short to keep to so much in all")
    parser.add_argument("--quick", action="store_true", help="small shapes, few rounds: does it run?")
    parser.add_argument("--resume", action="store_true", help="go on with the run whose compare.json is in --out")
    options = parser.parse_args(arguments)
    quick = QUICK if options.quick else {}
    options.sections = options.sections or quick.get("sections") or list(SECTIONS)
    options.shapes = options.shapes or quick.get("shapes")
    if options.quick:
        options.rounds, options.patience = QUICK_RACE["rounds"], QUICK_RACE["patience"]
    return options


def add_limits(results: Results, threads: int) -> None:
    """Measures what so many threads can do at most; of several measurements the highest numbers stay."""
    limits, found = results.head["limits"], limit.measure(threads, results.head["machine"]["caches"])
    limits[str(threads)] = limit.better(limits.get(str(threads), found), found)


def race_all(
    results: Results,
    todo: list[Entry],
    contenders: Mapping[str, Contender],
    options: argparse.Namespace,
    file: Path,
    end: float,
    prepare: Callable[[Results, int], None] = lambda results, threads: None,
) -> None:
    """Runs these races, which are cut short to end by `end` on time.perf_counter(), and writes each into the file. prepare: is
    called with the number of threads before each set of processes."""

    def crew(entry: Entry) -> tuple[int, tuple[str, ...]]:
        return entry.threads, entry.names

    left = len(todo)
    with progress(left, "racing") as bar:
        for (threads, names), group in groupby(todo, crew):
            prepare(results, threads)
            with Race(names, threads, contenders) as race:
                for entry in group:
                    began = time.perf_counter()
                    patience = min(options.patience, (end - began) / left)
                    results.add(entry, race.run(entry.task, max(3, options.rounds), patience))
                    left -= 1
                    results.head["seconds"] += time.perf_counter() - began
                    results.head["absent"].update(race.failed)
                    results.write(file)
                    bar.update()
                    bar.note(f"{entry.section} {entry.task.shape.name} {entry.task.cell}")


def run(options: argparse.Namespace, file: Path) -> Results:
    """Every race that is asked for and not yet in the file, one set of processes for as many as it can serve."""
    if options.resume and file.exists():
        results = Results.read(file)
    else:
        results = Results({"machine": machine(), "versions": {}, "absent": {}, "limits": {}, "paths": {}, "seconds": 0.0}, [])
    asked = [name for name in PEERS if peer_of(name) in options.peers]  # with all their paths
    results.head["versions"].update(versions({name: PEERS[name] for name in asked}))
    missing = {name: f"{' and '.join(modules)} not installed" for name in asked if (modules := PEERS[name].missing())}
    results.head["absent"].update({name: reason for name, reason in missing.items() if name in options.peers})
    names = [name for name in asked if name not in missing]
    wanted = entries(options.sections, options.threads, names, options.shapes, options.cells)
    todo = [entry for entry in wanted if not results.has(entry)]
    if not options.quick:
        results.head["paths"].update({name: paths.path(name) for name in names if name in paths.ASKED})

    race_all(results, todo, PEERS, options, file, time.perf_counter() + 60 * options.minutes, add_limits)
    return results


def draw(results: Results, folder: Path) -> list[tuple[str, str]]:
    """Names and titles of the plots; none where matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        print("No plots: matplotlib not installed.")
        return []
    import plots

    return plots.draw(results, folder)


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0 if all contenders computed the same."""
    options = options_of(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    results = run(options, options.out / "compare.json")
    said = (verdict.sentence(results), "\n".join(verdict.losses(results)), "\n".join(tables.absences(results)))
    print(tables.text(results), bars.summary(results), *filter(None, said), sep="\n\n")
    images = draw(results, options.out)
    (options.out / "compare.md").write_text(page.page(results, images), encoding="utf-8")
    wrong = tables.disagreements(results)
    print("\n".join(wrong) if wrong else "All contenders computed the same.", end=" ")
    print(f"{results.head['seconds']:.0f} seconds of races.")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
