"""The compiled timestep loop forward: nothing of it is visible to Python; _call runs it."""
