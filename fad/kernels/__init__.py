"""Compiled CPU kernels. Their modules import numba, so import them where they are first used."""
