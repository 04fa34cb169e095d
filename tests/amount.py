"""How much the tests try: a part in `make test`, everything in `make test-all`, which sets LONG_TESTS=1."""

import os

LONG = os.environ.get("LONG_TESTS") == "1"


def examples(count: int) -> int:
    """Returns how many of `count` examples a property test tries."""
    return count if LONG else max(5, count // 4)
