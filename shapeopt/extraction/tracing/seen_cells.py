"""Which cells the fronts of a trace have been to."""

import torch
from jaxtyping import Int64
from torch import Tensor


class SeenCells:
    """The cells of the last two fronts, and those known before the first one.

    A neighbour of a front's cell lies in the front before, in itself or in the next.

    Args:
        known: keys of cells.
    """

    def __init__(self, known: Int64[Tensor, "k"]):
        self._known = self._before = known

    def facets_to_new(self, keys: Int64[Tensor, "c"], behind: Int64[Tensor, "m"]) -> Tensor:
        """Facets of a front behind which cells lie that are not known yet, one for each of those.

        Args:
            keys: of the front's cells.
            behind: of the cell behind each facet; that of its own cell at the border.
        """
        near = torch.cat([self._before, keys]).sort().values
        self._before = torch.cat([self._known, keys])
        behind, order = torch.sort(behind)
        place = torch.searchsorted(near, behind).clamp_(max=len(near) - 1)
        is_new = near[place] != behind
        is_new[1:].logical_and_(behind[1:] != behind[:-1])
        return order[is_new]
