"""Deploy an LSTM that PyTorch has trained, without PyTorch.

    python deploy_torch.py
    python deploy_torch.py --folder deployed            # keeps model.npz and model.onnx

A small LSTM with an output layer learns in PyTorch to continue a wave. Its weights go into an .npz file by their names, and
into an ONNX model if the package onnx is installed. Then each of PyTorch, ONNX Runtime and rnnfast that is installed answers in
a fresh process, with one thread. The table shows how much it takes on the disk, with the packages that it needs; how long it
takes to be imported and to load the model; and how long an answer takes, for a whole sequence and for one step of a stream. All
answers must be the same.

Without PyTorch, the weights are those that a layer of rnnfast begins with.
"""

import common  # isort: skip
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# neither NumPy nor rnnfast is imported here: each process that measures begins with nothing

INPUTS, HIDDEN, STEPS = 1, 64, 100
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "RNNFAST_NUM_THREADS": "1"}


# ---- the model --------------------------------------------------------------------------------------------------------------
def wave(steps: int, samples: int, rng):
    """(steps, samples, 1): a sum of two sines of random phases, and some noise."""
    import numpy as np

    t, phases = np.arange(steps)[:, None], rng.uniform(0, 6.28, (2, samples))
    clean = np.sin(t / 5 + phases[0]) + 0.5 * np.sin(t / 13 + phases[1])
    return (clean + 0.05 * rng.standard_normal(clean.shape)).astype(np.float32)[..., None]


def train_in_torch(updates: int, seed: int) -> dict:
    """The weights as NumPy arrays by PyTorch's names: those of the LSTM, and "weight" and "bias" of the output layer."""
    import numpy as np
    import torch
    from torch import nn

    from rnnfast.progress import progress

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    lstm, dense, rng = nn.LSTM(INPUTS, HIDDEN), nn.Linear(HIDDEN, 1), np.random.default_rng(seed)
    optimizer = torch.optim.Adam([*lstm.parameters(), *dense.parameters()], lr=5e-3)
    with progress(updates, "training in PyTorch") as bar:
        for _ in range(updates):
            series = torch.from_numpy(wave(STEPS + 1, 32, rng))
            loss = nn.functional.mse_loss(dense(lstm(series[:-1])[0]), series[1:])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            bar.update()
    print(f"Trained in PyTorch {torch.__version__}: {updates} updates, mean squared error {loss.item():.3f}")
    # all that is needed to deploy: names and arrays
    return {name: p.detach().numpy() for name, p in [*lstm.named_parameters(), *dense.named_parameters()]}


def without_torch(seed: int) -> dict:
    import numpy as np

    import rnnfast
    from rnnfast.progress import progress

    with progress(1, "drawing weights") as bar:
        lstm, rng = rnnfast.LSTM(INPUTS, HIDDEN, rng=seed), np.random.default_rng(seed)
        bar.update()
    print("PyTorch is not installed: the weights are those that a layer of rnnfast begins with")
    weight = rng.standard_normal((1, HIDDEN)).astype(np.float32) / 8
    return {**lstm.params, "weight": weight, "bias": np.zeros(1, np.float32)}


def split(folder: Path):
    """Weights of the LSTM by name; weight (1, H) and bias (1,) of the output layer."""
    import numpy as np

    arrays = dict(np.load(folder / "model.npz"))
    return arrays, arrays.pop("weight"), arrays.pop("bias")


# ---- how each library answers: load(folder) -> (whole, step) -----------------------------------------------------------------
# whole(x (T, 1, I)) -> (T, 1, 1) answers; step(x_t (1, I), state) -> (1, 1) answer and the next state, which begins with None
def load_rnnfast(folder: Path):
    import rnnfast

    arrays, weight, bias = split(folder)
    net = rnnfast.LSTM(INPUTS, HIDDEN)
    net.load_params(arrays)
    fast = net.freeze()

    def step(x_t, state):
        y_t, state = fast.step(x_t, state)
        return y_t @ weight.T + bias, state

    return lambda x: fast(x)[0] @ weight.T + bias, step


def load_torch(folder: Path):
    import torch

    torch.set_num_threads(1)
    arrays, weight, bias = split(folder)
    lstm, dense = torch.nn.LSTM(INPUTS, HIDDEN).eval(), torch.nn.Linear(HIDDEN, 1).eval()
    lstm.load_state_dict({name: torch.from_numpy(a) for name, a in arrays.items()})
    dense.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})

    @torch.inference_mode()
    def whole(x):
        return dense(lstm(torch.from_numpy(x))[0]).numpy()

    @torch.inference_mode()
    def step(x_t, state):
        y_t, state = lstm(torch.from_numpy(x_t[None]), state)
        return dense(y_t[0]).numpy(), state

    return whole, step


def load_onnxruntime(folder: Path):
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    _, weight, bias = split(folder)
    zeros = np.zeros((1, 1, HIDDEN), np.float32)

    def run(x, state):
        h, c = (zeros, zeros) if state is None else state
        y, h, c = session.run(None, {"x": x, "h0": h, "c0": c})
        return y @ weight.T + bias, (h, c)

    def step(x_t, state):
        answers, state = run(x_t[None], state)
        return answers[0], state

    return lambda x: run(x, None)[0], step


LIBRARIES = {  # name -> (package, how it loads)
    "PyTorch": ("torch", load_torch),
    "ONNX Runtime": ("onnxruntime", load_onnxruntime),
    "rnnfast": ("rnnfast", load_rnnfast),
}


# ---- measurements -----------------------------------------------------------------------------------------------------------
def measure(name: str, folder: Path, repeats: int) -> None:
    """Runs in a process of its own, and prints what it finds as JSON: times in microseconds, and the answers."""
    clock, times = time.perf_counter_ns, {}
    package, load = LIBRARIES[name]
    began = clock()
    importlib.import_module(package)
    import numpy as np

    times["import"] = clock() - began
    began = clock()
    whole, step = load(folder)
    times["load"] = clock() - began
    x = np.load(folder / "x.npy")
    began = clock()
    answers = whole(x)
    times["first"] = clock() - began

    def median(call):
        took = []
        for _ in range(repeats):
            began = clock()
            call()
            took.append(clock() - began)
        return sorted(took)[len(took) // 2]

    times["whole"] = median(lambda: whole(x))
    state, stream = None, []
    for x_t in x:
        answer, state = step(x_t, state)
        stream.append(answer)
    times["step"] = median(lambda: step(x[0], state))
    found = {"times": {what: took / 1000 for what, took in times.items()}}
    print(json.dumps({**found, "answers": np.ravel(answers).tolist(), "stream": np.ravel(stream).tolist()}))


def megabytes(package: str) -> float:
    """On the disk, with all installed packages that it needs."""
    if package == "rnnfast":  # perhaps run from its source
        others, size = {"numpy"}, folder_size(Path(importlib.util.find_spec("rnnfast").origin).parent)
    else:
        others, size = {package}, 0.0
    todo, seen = list(others), set(others)
    while todo:
        try:
            found = importlib.metadata.distribution(todo.pop())
        except importlib.metadata.PackageNotFoundError:
            continue  # needed on other systems
        size += sum(path.stat().st_size for path in map(found.locate_file, found.files or []) if path.is_file())
        for requirement in found.requires or []:
            name = re.match(r"[\w.-]+", requirement).group().lower()
            if "extra" not in requirement and name not in seen:
                seen.add(name)
                todo.append(name)
    return size / 1e6


def folder_size(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


# ---- the program ------------------------------------------------------------------------------------------------------------
def options() -> common.Parser:
    parser = common.options(__doc__, checkpoint=None)
    parser.add_argument("--folder", metavar="FOLDER", help="keep model.npz and model.onnx there")
    return parser


def main(args) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(args.folder or temporary)
        with common.expecting("--folder", "a folder that can be written", str(folder)):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        compare(args, folder)


def compare(args, folder: Path) -> None:
    import numpy as np

    import rnnfast

    has = {package: importlib.util.find_spec(package) is not None for package in ("torch", "onnx", "onnxruntime")}
    weights = train_in_torch(10 if args.quick else 300, args.seed) if has["torch"] else without_torch(args.seed)
    np.savez(folder / "model.npz", **weights)
    if has["onnx"]:
        import rnnfast.onnx

        net = rnnfast.LSTM(INPUTS, HIDDEN)
        net.load_params({name: a for name, a in weights.items() if name in net.params})
        rnnfast.onnx.export(net, folder / "model.onnx", batch=1, state=True)
    np.save(folder / "x.npy", wave(STEPS, 1, np.random.default_rng(args.seed + 1)))

    left_out, rows, answers = [], {}, {}
    for name, (package, _) in LIBRARIES.items():
        if not has.get(package, True) or (package == "onnxruntime" and not has["onnx"]):
            left_out.append(name)
            continue
        code = f"import sys; sys.path[:0] = {sys.path!r}; import pathlib, deploy_torch as d; "
        code += f"d.measure({name!r}, pathlib.Path({str(folder)!r}), {20 if args.quick else 500})"
        runs = []
        for _ in range(1 if args.quick else 5):  # the first one may read from a cold disk
            done = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **ONE_THREAD}, check=False
            )
            if done.returncode:
                raise ValueError(f"{name}: expected a process that answers, got one that failed: {done.stderr[-500:]}")
            runs.append(json.loads(done.stdout))
        rows[name] = {what: sorted(run["times"][what] for run in runs)[len(runs) // 2] for what in runs[0]["times"]}
        answers[name] = np.array([runs[0]["answers"], runs[0]["stream"]])

    print(f"\nAn LSTM of {HIDDEN} units and an output layer, {STEPS} steps, one sequence, float32, one thread:")
    print("| library | on disk (MB) | import (ms) | load (ms) | first answer (ms) | whole sequence (us) | one step (us) |")
    print("| --- " * 7 + "|")
    for name, row in rows.items():
        start = f"{row['import'] / 1000:.0f} | {row['load'] / 1000:.1f} | {row['first'] / 1000:.2f}"
        print(f"| {name} | {megabytes(LIBRARIES[name][0]):.0f} | {start} | {row['whole']:.0f} | {row['step']:.1f} |")
    if left_out:
        print(f"Left out, as it is not installed: {', '.join(left_out)}")
    worst = max(np.abs(found - answers["rnnfast"][0]).max() for found in answers.values())
    same = worst < 1e-4
    print(f"The answers are {'the same' if same else 'NOT the same'}: they differ by {worst:.1e} at most")
    if not same:
        raise SystemExit(1)


if __name__ == "__main__":
    common.run(options(), main)
