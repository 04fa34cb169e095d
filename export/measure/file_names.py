"""Short names of files for tables and charts."""

import os
from collections import Counter
from collections.abc import Sequence

from shufflenet_tf.errors import printable


def short_names(paths: Sequence[str]) -> list[str]:
    """Returns the files' names as text, prefixed by their folders where different files would have the same name."""
    names = {path: os.path.basename(path) for path in paths}
    count = Counter(names.values())
    return [printable(names[path] if count[names[path]] == 1 else path) for path in paths]
