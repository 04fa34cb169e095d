"""How large photos may be; a program's --max_megapixels changes it for its process."""

# Million pixels. Of a JPEG that isn't progressive, libjpeg holds a few rows at a time; all of other files is held.
MEGAPIXELS = {"scanned": 400.0, "held": 179.0}


def allow_megapixels(limit: float) -> None:
    """Sets how many million pixels any image may have to be read; it holds for this process."""
    MEGAPIXELS.update(dict.fromkeys(MEGAPIXELS, limit))
