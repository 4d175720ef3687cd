"""Kernels in numba, for any shape: arrays go in, arrays come out, on all cores. What eager evaluation runs; knows nothing of
trees."""
