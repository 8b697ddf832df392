"""Arrays that grow by rows at their end, within a budget."""

import numpy as np
import torch
from torch import Tensor

from shapeopt.extraction.memory import Budget

SMALL_ROWS = 1 << 17
"""Room for that many rows from the start."""

MAX_ROWS = 2**31 - 1
"""Rows are numbered in int32."""

RESERVE_AT = 1 << 26
"""From so many bytes on a buffer reserves all it may ever need."""


class GrowingRows:
    """Rows appended in place.

    Small buffers double. A large one moves once, into all the address space that the budget
    allows: memory that is never written to costs nothing, and rows are never copied again.

    Args:
        flat: the memory, which is taken over.
        size: number of rows in use.
        shape: of a row.
        budget: of memory.

    Attributes:
        size: number of rows in use.
        rows: these, and behind them the room for more.
    """

    def __init__(self, flat: np.ndarray, size: int, shape: tuple[int, ...], budget: Budget):
        self.size = size
        self._budget = budget
        self._flat = flat
        self._set_shape(shape)

    def _set_shape(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._width = int(np.prod(shape))
        capacity = len(self._flat) // self._width if self._width else MAX_ROWS
        self.rows = self._flat[: capacity * self._width].reshape(capacity, *shape)

    def reserve(self, size: int) -> None:
        """Makes room for ``size`` rows in all. Arrays taken before may be stale afterwards."""
        if size > len(self.rows):
            used = self.size * self._width
            flat = np.empty(self._capacity(size, self._width) * self._width, self._flat.dtype)
            flat[:used] = self._flat[:used]
            self._flat = flat
            self._set_shape(self._shape)

    def _capacity(self, size: int, width: int) -> int:
        row_bytes = width * self._flat.itemsize
        if 2 * size * row_bytes <= RESERVE_AT:
            return max(2 * size, SMALL_ROWS)
        return min(max(self._budget.reservable // row_bytes, size), MAX_ROWS)

    def of_width(self, width: int) -> "GrowingRows":
        """As many 1D rows of another length; what they hold is the caller's affair."""
        flat = np.empty(self._capacity(self.size, width) * width, self._flat.dtype)
        return GrowingRows(flat, self.size, (width,), self._budget)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self._width * self._flat.itemsize

    @property
    def data(self) -> np.ndarray:
        """The rows in use."""
        return self.rows[: self.size]

    def keep(self, chosen: np.ndarray) -> None:
        """Drops the other rows and moves the chosen ones, given by number, together."""
        kept = self.data.take(chosen, axis=0)
        self.size = len(kept)
        self.data[:] = kept

    def release(self) -> Tensor:
        """The rows as a tensor, with the unused end of the buffer given back."""
        flat = self._flat
        del self.rows, self._flat
        flat.resize(self.size * self._width, refcheck=False)
        return torch.from_numpy(flat.reshape(self.size, *self._shape))
