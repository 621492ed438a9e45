"""Functions for the formulas of cells, beside NumPy's: the same for arrays and for the symbols of a trace."""

from rnnfast.formula.ops import *  # noqa: F403
from rnnfast.formula.ops import __all__ as __all__
