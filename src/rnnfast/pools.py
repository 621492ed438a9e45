"""rnnfast's threads as threadpoolctl sees them: `register_threadpoolctl`. Nothing here imports threadpoolctl before that."""

from __future__ import annotations

import os

from rnnfast import runtime
from rnnfast._kernels import _core
from rnnfast.version import __version__

_registered = False


def register_threadpoolctl() -> None:
    """Let threadpoolctl (3.2 or later) see and limit rnnfast's threads; done at import where threadpoolctl came first.

    Afterwards ``threadpoolctl.threadpool_info()`` lists rnnfast, ``threadpoolctl.threadpool_limits(1)`` holds for it too, and
    with ``user_api="rnnfast"`` for it alone. A limit is of the whole process, as `set_num_threads` is.

    Raises
    ------
    ImportError
        If threadpoolctl is not installed.
    """
    global _registered
    import threadpoolctl

    if _registered:
        return
    ours = os.path.realpath(_core.__file__)

    class Controller(threadpoolctl.LibController):  # type: ignore[misc]
        user_api = internal_api = "rnnfast"
        filename_prefixes = ("_core.",)
        check_symbols = ("PyInit__core",)

        def set_additional_attributes(self) -> None:
            if self.filepath != ours:  # another package's _core: without symbols it is passed by
                self.dynlib = None

        def get_num_threads(self) -> int:
            return runtime.get_num_threads()

        def set_num_threads(self, num_threads: int) -> None:
            runtime.set_num_threads(num_threads)

        def get_version(self) -> str:
            return __version__

    threadpoolctl.register(Controller)
    _registered = True
