"""The compiled part of rnnfast: Cython modules; csrc is linked into _core alone. Metadata is in pyproject.toml.

No -march=native and no -ffast-math: each ISA is compiled by target attributes inside its own header and chosen at run time.
RNNFAST_CFLAGS and RNNFAST_LDFLAGS add flags (tests/sanitize.sh uses them); RNNFAST_EMULATE=1 adds the ISAs that stand in for
wider ones in tests (csrc/isa/list.h), which a wheel does not need.

The compilers are GCC, Clang and Apple's Clang, and on Windows clang-cl with the headers and the linker of Visual Studio: csrc
has attributes, pragmas and assembly that Microsoft's own compiler does not know.
"""

import os
import shutil
import sys
from glob import glob

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

CFLAGS = ["-O3", "-std=c11", "-ffp-contract=off", "-fno-math-errno"]
LDFLAGS = []
LIBRARIES = []
if sys.platform == "win32":
    CFLAGS = [f"/clang:{flag}" for flag in CFLAGS]
else:
    CFLAGS += ["-D_POSIX_C_SOURCE=200809L", "-fvisibility=hidden", "-pthread", "-g0"]
    LDFLAGS.append("-pthread")
    LIBRARIES.append("m")
if sys.platform == "linux" and "RNNFAST_LDFLAGS" not in os.environ:
    LDFLAGS.append("-s")  # no symbols in the wheel
MACROS = [("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")]
if os.environ.get("RNNFAST_EMULATE") == "1":
    MACROS.append(("RF_EMULATE", None))

ROOM = "src/rnnfast/_kernels"
MODULES = ("_code", "_weights", "_order", "_forward", "_backward", "_call", "_fast_path", "_training", "_capi", "_testing")


class BuildWithClang(build_ext):
    """build_ext with clang-cl in the place of Microsoft's compiler."""

    def build_extensions(self) -> None:
        if sys.platform == "win32":
            self.take_clang()
        super().build_extensions()

    def take_clang(self) -> None:
        kind, clang = self.compiler.compiler_type, shutil.which("clang-cl")
        if kind != "msvc":  # https://gcc.gnu.org/bugzilla/show_bug.cgi?id=54412
            raise SystemExit(
                f"rnnfast: expected the compiler type msvc, with which clang-cl builds, got {kind}: MinGW's GCC does not align "
                "the stack for vectors, and what it builds crashes; leave --compiler out"
            )
        if clang is None:
            raise SystemExit(
                "rnnfast: expected the compiler clang-cl in PATH, found none. Microsoft's cl.exe cannot compile rnnfast; "
                "install LLVM (https://llvm.org) or the component 'C++ Clang tools for Windows' of Visual Studio"
            )
        if not self.compiler.initialized:
            self.compiler.initialize(self.plat_name)
        self.compiler.cc = clang
        for options in (self.compiler.compile_options, self.compiler.ldflags_shared):
            options[:] = [
                option for option in options if option not in ("/GL", "/LTCG")
            ]  # for code that cl.exe left to link.exe


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
    cmdclass={"build_ext": BuildWithClang},
    ext_modules=cythonize(
        [
            extension("rnnfast._kernels._core", [f"{ROOM}/_core.pyx", *sorted(glob("csrc/**/*.c", recursive=True))], LIBRARIES),
            *(extension(f"rnnfast._kernels.{name}", [f"{ROOM}/{name}.pyx"]) for name in MODULES),
        ],
        include_path=["src"],
    ),
)
