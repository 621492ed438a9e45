"""python setup.py build_ext --inplace && python main.py"""

from Cython.Build import cythonize
from setuptools import Extension, setup

import rnnfast

audio = Extension("audio", ["audio.pyx", "player.c"], include_dirs=[rnnfast.get_include(), "."], extra_link_args=["-pthread"])
setup(name="embed_c", ext_modules=cythonize([audio], build_dir="build"))
