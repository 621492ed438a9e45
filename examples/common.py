"""What the programs share: their options, how they end, tables and pictures. Imported first, since it says how many threads
NumPy's OpenBLAS may use: rnnfast has its own, and those of OpenBLAS keep spinning after every product."""

import argparse
import contextlib
import csv
import io
import math
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read once, when NumPy is imported

INSTALL = 'install it with pip install ".[examples]"'


class Parser(argparse.ArgumentParser):
    def error(self, message):
        """One sentence, without the list of all options that argparse prints above it."""
        self.exit(2, f"{self.prog}: {message}\n")


def options(doc: str, plot: str | None = None, checkpoint: str | None = "after each epoch") -> Parser:
    """A parser with --quick and --seed and, where the program has them, --plot and --checkpoint, which is written when
    `checkpoint` says. --help shows `doc` as it is."""
    parser = Parser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="train less, on less data: shows only that the program runs")
    parser.add_argument("--seed", type=at_least(0), default=0, help="seed of all random numbers (default %(default)s)")
    if checkpoint:
        parser.add_argument(
            "--checkpoint", metavar="FILE", help=f"an .npz file, written {checkpoint}; training goes on from it if it exists"
        )
    if plot:
        parser.add_argument(
            "--plot", default=plot, metavar="FILE", help="file of the picture (default %(default)s); '' for no picture"
        )
    return parser


def at_least(least: float, kind: type = int, most: float = math.inf):
    """The type of an option that is a number, at most `most` if that is given."""

    def number(text: str):
        value = kind(text)
        if not (least <= value <= most and value < math.inf):
            limits = f"of {least:g} or more" if most == math.inf else f"from {least:g} to {most:g}"
            raise argparse.ArgumentTypeError(f"expected a number {limits}, got {text}")
        return value

    return number


def run(parser: Parser, main) -> None:
    """Calls main with the options of the command line. What the user can mend ends in one sentence on stderr and exit status
    2, Ctrl-C in one that says whether the work so far is lost, and exit status 130."""
    args = parser.parse_args()
    checkpoint = getattr(args, "checkpoint", None)
    try:
        if checkpoint:
            writable("--checkpoint", checkpoint)
        main(args)
    except KeyboardInterrupt:
        if checkpoint and Path(checkpoint).exists():
            rest = f"the same command goes on from where it stopped, with the last checkpoint in {checkpoint}"
        elif checkpoint:
            rest = f"{checkpoint} was not written yet, so the same command begins anew"
        elif "checkpoint" in args:
            rest = "nothing was kept; with --checkpoint FILE the same command would go on from where it stopped"
        else:
            rest = "nothing was kept, so the same command begins anew"
        parser.exit(130, f"{parser.prog}: stopped by Ctrl-C: {rest}\n")
    except ModuleNotFoundError as missing:
        parser.error(f"the package {missing.name} is not installed; {INSTALL}")
    except (OSError, ValueError, FloatingPointError) as problem:
        parser.error(str(problem))


@contextlib.contextmanager
def expecting(option: str, expected: str, got: str):
    """Whatever goes wrong inside becomes a ValueError that names the option, what it expects, what came and what is wrong."""
    try:
        yield
    except Exception as problem:
        reason = problem.strerror if isinstance(problem, OSError) and problem.strerror else problem
        raise ValueError(f"{option}: expected {expected}, got {got}: {reason}") from problem


def writable(option: str, file: str) -> None:
    """A ValueError if the file could not be written at the end of the program; nothing is changed."""
    with expecting(option, "a file that can be written", file):
        tempfile.TemporaryFile(dir=Path(file).parent).close()
        if Path(file).exists():
            open(file, "ab").close()


def processes() -> dict:
    """For --mpi: the arguments of nn.fit that join the processes which mpiexec started. All but the first print nothing."""
    try:
        from mpi4py import MPI
    except ImportError as missing:  # the package, or the MPI that it calls
        raise ValueError(f'--mpi: expected mpi4py and an MPI, pip install "rnnfast[mpi]" mpich, got {missing}') from missing
    comm = MPI.COMM_WORLD
    if comm.rank > 0:
        sys.stdout = io.StringIO()

    def average(means, samples):
        means *= samples
        comm.Allreduce(MPI.IN_PLACE, means)
        means /= comm.allreduce(samples)

    return {"reduce": average, "part": (comm.rank, comm.size)}


def rows(file: str, columns: dict) -> list[tuple]:
    """Of each row of a CSV file with a line of column names: the columns named, each read by the function given for it."""
    with (
        expecting("--csv", "a CSV file with " + " and ".join(f"a column {name}" for name in columns), file),
        open(file, newline="", encoding="utf-8-sig") as stream,
    ):
        reader, found = csv.DictReader(stream, restval=""), []
        if not columns.keys() <= set(names := reader.fieldnames or ["none"]):
            raise ValueError(f"its columns are {', '.join(names)}")
        for row in reader:
            try:
                found.append(tuple(read(row[name]) for name, read in columns.items()))
            except ValueError as problem:
                raise ValueError(f"line {reader.line_num}: {problem}") from None
    return found


def figure(file: str, width: float = 9, height: float = 3.5, rows: int = 1):
    """A matplotlib figure and its axes, or (None, None) where no file is given. Called before the training, so that what
    keeps the picture from being written is an error then, not afterwards."""
    if not file:
        return None, None
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as missing:
        remedy = f"{INSTALL}, or give --plot '' for no picture"
        raise ValueError(f"--plot: the package {missing.name}, which draws {file}, is not installed; {remedy}") from missing
    fig = Figure(figsize=(width, height), layout="constrained")
    axes = fig.subplots(rows)
    writable("--plot", file)
    with expecting("--plot", "the name of a picture", file):
        fig.savefig(io.BytesIO(), format=Path(file).suffix[1:])
    return fig, axes


def save(fig, file: str) -> None:
    """Writes the picture; legends stand to the right of their axes, where they hide nothing."""
    for axes in fig.axes:
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")
    fig.savefig(file, dpi=110)
    print(f"Picture: {file}")
