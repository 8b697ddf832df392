"""Keys of cells compiled for the CPU, the twin of ``ZobristKeys.of_cells``."""

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Int, Int32, Int64
from torch import Tensor

from shapeopt.compiled import kernel
from shapeopt.complex.signs import ZobristKeys


def keys_of_cells(
    keys: ZobristKeys, packed: Int32[Tensor, "n words"], zeros: Int[Tensor, "n k"]
) -> Int64[Tensor, "n"]:
    """Keys of cells given by their packed + signs and their zeros."""
    of_bytes = keys.of_bytes.numpy()
    words = packed.contiguous().numpy().view(np.uint32)
    return torch.from_numpy(_keys(words, zeros.numpy(), of_bytes, keys.zero.numpy()))


@kernel
@no_type_check
def _keys(words, zeros, of_bytes, zero_key):
    result = np.empty(len(words), np.int64)
    for i in range(len(words)):
        key = 0
        for z in range(zeros.shape[1]):
            key += zero_key[zeros[i, z]]
        for j in range(words.shape[1]):
            word, byte = words[i, j], 4 * j
            while word != 0:
                key += of_bytes[byte, word & np.uint32(255)]
                word >>= np.uint32(8)
                byte += 1
        result[i] = key
    return result
