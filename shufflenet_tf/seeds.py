"""Seeds of any size."""


def fold(seed: int) -> int:
    """Returns the seed that random generators of 32 bits are given: the remainder of a non-negative integer by 2**32."""
    return seed % (1 << 32)
