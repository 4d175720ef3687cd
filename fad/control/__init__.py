"""Loops and branches: primitives whose parameters hold Functions, and the functions that users write them with."""
