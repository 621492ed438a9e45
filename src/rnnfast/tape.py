"""The tapes that recording returns, and the gradients that their backward gives; for annotations and isinstance."""

from rnnfast._engine.tapes import Gradients, LayerGradients, StackTape, Tape

__all__ = ["Gradients", "LayerGradients", "StackTape", "Tape"]
