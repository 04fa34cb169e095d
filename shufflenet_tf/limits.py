"""The maximum size of photos; --max_megapixels changes it for the process of a program."""

# Million pixels. libjpeg holds only a few rows of a JPEG that isn't progressive; other files are held completely.
MEGAPIXELS = {"scanned": 400.0, "held": 179.0}


def allow_megapixels(limit: float) -> None:
    """Sets the maximum size of images of any kind, in million pixels, for this process."""
    MEGAPIXELS.update(dict.fromkeys(MEGAPIXELS, limit))
