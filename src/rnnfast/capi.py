"""For C, C++ and Cython code that calls frozen layers: where the header is. `capi.pxd` beside this file is for Cython."""

from pathlib import Path


def get_include() -> str:
    """The folder of ``rnnfast_api.h``, for the ``include_dirs`` of an extension that calls frozen layers from C, C++ or Cython.

    Returns
    -------
    str
        Its absolute path.

    Examples
    --------
    >>> from pathlib import Path
    >>> (Path(rnnfast.get_include()) / "rnnfast_api.h").exists()
    True
    """
    return str(Path(__file__).parent.resolve() / "include")
