"""Dropout masks that are computed where they are needed, never stored: a hash of (key, element number).

Imported by kernels only. The hash is the finaliser of MurmurHash3 (public domain), half the key added before and half
mixed in near its end: 32-bit multiplications and shifts alone, so that loops over it become SIMD code.
"""

import numpy as np
import torch

from sear.compiled import compiled

Mask = tuple[np.uint32, np.uint32, np.uint32]  # two halves of a key, and the hash from which on an element is kept
ALL_KEPT = (np.uint32(0), np.uint32(0), np.uint32(0))


def draw_mask(p: float, training: bool, elements: int) -> tuple[Mask, float]:
    """A mask that keeps each element with probability 1 - p, and the scale of what is kept, 1 / (1 - p).

    Its key is drawn from torch's default CPU generator, which torch.manual_seed rules.
    """
    if not training or p == 0:
        return ALL_KEPT, 1.0
    if p == 1:
        p, scale = 1 - 2.0**-32, 0.0
    else:
        scale = 1 / (1 - p)
    assert elements <= 2**32, "an element's number has 32 bits"
    key = int(torch.randint(2**62, ()))
    return (np.uint32(key >> 31), np.uint32(key & 0x7FFFFFFF), np.uint32(round(p * 2**32))), scale


@compiled
def kept(mask, element):
    """Whether the mask keeps an element, given its uint32 number."""
    before, after, threshold = mask
    x = np.uint32(element + before)
    x = np.uint32((x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B))
    x = np.uint32((x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35))
    x = np.uint32((x ^ (x >> np.uint32(16)) ^ after) * np.uint32(0x9E3779B1))  # the odd number near 2^32 / golden ratio
    return x >= threshold
