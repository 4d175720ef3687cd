"""Arrays surrounded by canaries."""

from dataclasses import dataclass

import numpy as np
import pytest

MARGIN = 64
CANARY = 0xA5


@dataclass
class Guarded:
    """A copy of an array between two margins of known bytes."""

    memory: np.ndarray
    array: np.ndarray
    original: np.ndarray

    @classmethod
    def around(cls, original: np.ndarray) -> "Guarded":
        memory = np.full(original.nbytes + 2 * MARGIN, CANARY, np.uint8)
        array = memory[MARGIN : MARGIN + original.nbytes].view(original.dtype).reshape(original.shape)
        array[...] = original
        return cls(memory, array, original.copy())

    def check_surroundings(self) -> None:
        assert (self.memory[:MARGIN] == CANARY).all(), "written before the array"
        assert (self.memory[len(self.memory) - MARGIN :] == CANARY).all(), "written behind the array"

    def check(self) -> None:
        """Neither the array nor what surrounds it has changed."""
        self.check_surroundings()
        np.testing.assert_array_equal(self.array, self.original)


@pytest.fixture
def guarded():
    return Guarded.around
