"""Kernels that are specialised to their shapes: an operation on operands goes in, phases of native code for a program come out."""
