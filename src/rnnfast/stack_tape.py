"""The old place of `StackTape`: see `rnnfast.tape`."""

from rnnfast.tape import StackTape

__all__ = ["StackTape"]
