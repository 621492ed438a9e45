Entry=Report=accelerate=restore=None
