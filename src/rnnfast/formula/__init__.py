"""Cells as formulas: from a few lines of NumPy to the numbers and instructions that the loops need. Knows nothing of layers."""
