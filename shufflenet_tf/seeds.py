"""Seeds of any size."""


def fold(seed: int) -> int:
    """Returns a seed for 32-bit random generators: the remainder of a non-negative integer modulo 2**32."""
    return seed % (1 << 32)
