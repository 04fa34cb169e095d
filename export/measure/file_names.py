"""Short names of files, for tables and pictures."""

import os
from collections import Counter
from collections.abc import Sequence


def short_names(paths: Sequence[str]) -> list[str]:
    """Returns the files' names, with their folders where names alone would be the same for different files."""
    names = {path: os.path.basename(path) for path in paths}
    count = Counter(names.values())
    return [names[path] if count[names[path]] == 1 else path for path in paths]
