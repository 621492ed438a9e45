"""The C tests of tests/csrc, in every way of emulated.sh that this machine has the tools for."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "emulated.sh"


@pytest.mark.parametrize("way", ["gcc", "clang", "aarch64"])
def test_without_python(way):
    # a sanitizer preloaded for Python is not for compilers
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run(["bash", str(SCRIPT), way], env=environment, capture_output=True, text=True, timeout=300)
    if "skipped: " in done.stdout:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
