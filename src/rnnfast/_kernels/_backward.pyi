"""The compiled timestep loop of back-propagation through time: nothing of it is visible to Python; _call runs it."""
