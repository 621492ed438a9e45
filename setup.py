"""The compiled part of rnnfast: Cython modules; csrc is linked into _core alone. Metadata is in pyproject.toml.

No -march=native and no -ffast-math: each ISA is compiled by target attributes inside its own header and chosen at run time.
RNNFAST_CFLAGS and RNNFAST_LDFLAGS add flags (tests/sanitize.sh uses them); RNNFAST_EMULATE=1 adds the ISAs that stand in for
wider ones in tests (csrc/isa/list.h), which a wheel does not need.
"""

import os
import sys
from glob import glob

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

CFLAGS = ["-O3", "-std=c11", "-D_POSIX_C_SOURCE=200809L", "-ffp-contract=off", "-fno-math-errno"]
CFLAGS += ["-fvisibility=hidden", "-pthread", "-g0"]
LDFLAGS = ["-pthread"]
if sys.platform == "linux" and "RNNFAST_LDFLAGS" not in os.environ:
    LDFLAGS.append("-s")  # no symbols in the wheel
MACROS = [("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")]
if os.environ.get("RNNFAST_EMULATE") == "1":
    MACROS.append(("RF_EMULATE", None))

ROOM = "src/rnnfast/_kernels"
MODULES = ("_code", "_weights", "_order", "_forward", "_backward", "_call", "_fast_path", "_capi", "_testing")


def extension(name: str, sources: list[str], libraries: list[str] | None = None) -> Extension:
    return Extension(
        name,
        sources,
        include_dirs=["csrc", "src/rnnfast/include", numpy.get_include()],
        depends=sorted(glob("csrc/**/*.h", recursive=True) + glob("src/rnnfast/include/*.h")),
        extra_compile_args=CFLAGS + os.environ.get("RNNFAST_CFLAGS", "").split(),
        libraries=libraries,
        extra_link_args=LDFLAGS + os.environ.get("RNNFAST_LDFLAGS", "").split(),
        define_macros=MACROS,
    )


setup(
    ext_modules=cythonize(
        [
            extension("rnnfast._kernels._core", [f"{ROOM}/_core.pyx", *sorted(glob("csrc/**/*.c", recursive=True))], ["m"]),
            *(extension(f"rnnfast._kernels.{name}", [f"{ROOM}/{name}.pyx"]) for name in MODULES),
        ],
        include_path=["src"],
    )
)
