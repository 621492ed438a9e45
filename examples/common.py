"""What the programs share: the options that all have, and saving a plot. Imported first, since it says how many threads
NumPy's OpenBLAS may use: rnnfast has its own, and those of OpenBLAS keep spinning after every product."""

import argparse
import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read once, when NumPy is imported


def options(doc: str, plot: str | None = None, checkpoint: bool = True) -> argparse.ArgumentParser:
    """A parser with --quick and --seed and, where the program has them, --plot and --checkpoint."""
    parser = argparse.ArgumentParser(description=doc.strip().splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="less of everything: does it run?")
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers (default %(default)s)")
    if checkpoint:
        parser.add_argument(
            "--checkpoint", metavar="FILE", help="an .npz file, written after each epoch; go on from it if it is there"
        )
    if plot:
        parser.add_argument(
            "--plot", default=plot, metavar="FILE", help="where the picture goes (default %(default)s); '' for none"
        )
    return parser


def figure(file: str, width: float = 8, height: float = 3.5, rows: int = 1, columns: int = 1):
    """A matplotlib figure and its axes, or (None, None) where none is wanted or matplotlib is missing, which is said."""
    if not file:
        return None, None
    try:
        import matplotlib
    except ImportError:
        print(f"No {file}: matplotlib is not installed.", file=sys.stderr)
        return None, None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt.subplots(rows, columns, figsize=(width, height), layout="constrained")


def save(fig, file: str) -> None:
    fig.savefig(file, dpi=110)
    print(f"Picture: {file}")
