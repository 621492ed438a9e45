"""What _fast_path offers to other Cython modules."""


cpdef step(tuple layers, x, tuple state, y, tuple state_out, int threads)
