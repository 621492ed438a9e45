"""The compiled timestep loops: nothing of them is visible to Python; _layer calls them."""
