"""rnnfast's threads under the control of threadpoolctl. Only `register_threadpoolctl` imports threadpoolctl."""

from __future__ import annotations

import os

from rnnfast import runtime
from rnnfast._kernels import _core
from rnnfast.version import __version__

_registered = False


def register_threadpoolctl() -> None:
    """Let threadpoolctl (3.2 or later) see and limit rnnfast's threads.

    Importing rnnfast does this by itself if threadpoolctl was imported before. Afterwards ``threadpoolctl.threadpool_info()``
    lists rnnfast, and ``threadpoolctl.threadpool_limits(1)`` limits it together with other libraries, or, with
    ``user_api="rnnfast"``, alone. A limit applies to the whole process, as that of `set_num_threads` does.

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
