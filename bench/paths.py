"""Which implementation of an LSTM the peers take on this machine, asked of each in a process of its own:
``python bench/paths.py torch`` prints it."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from peers import PEERS
from rnnfast.proof.contenders import Task, Work, onnx_model
from rnnfast.shapes import BY_NAME

TASK = Task("lstm", BY_NAME["sent-h64"], False)


def run(name: str) -> None:
    """oneDNN, which PyTorch's fast paths call, tells by itself when asked to."""
    work: Work | None = PEERS[name].make(TASK, 1)
    if work is not None:
        work()


def openvino(_: str) -> None:
    """The compiled model's operations carry the name of what executes them."""
    import openvino

    model = onnx_model(TASK)
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for operation in compiled.get_runtime_model().get_ops():
        info = operation.get_rt_info()
        print(info["layerType"].astype(str), info["primitiveType"].astype(str))


ASKED = {  # how to ask, and where in the answer the name stands
    "torch": (run, r"exec,cpu,rnn,([^,]+)"),
    "torch:compiled": (run, r"exec,cpu,rnn,([^,]+)"),
    "openvino": (openvino, r"(?:RNNSeq|LSTMSequence) (\S+)"),
}


def path(name: str) -> str:
    """The implementation's name, or that it could not be found out."""
    answer = subprocess.run(
        [sys.executable, __file__, name],
        env={**os.environ, "ONEDNN_VERBOSE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    found = re.search(ASKED[name][1], answer.stdout)
    return found[1] if found else "not known"


if __name__ == "__main__":
    ASKED[sys.argv[1]][0](sys.argv[1])
