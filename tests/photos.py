"""Small folders of real image files for tests."""

import pathlib

import numpy as np
from PIL import Image

COLOURS = {"blue": (40, 60, 200), "green": (60, 190, 70), "red": (200, 50, 40)}


def write_photos(
    folder: pathlib.Path, per_class: int = 8, splits: tuple[str, ...] = ("train", "test"), side: int = 40
) -> pathlib.Path:
    """Writes noisy JPEGs of one colour a class, `per_class` of them in each split, and returns `folder`."""
    rng = np.random.default_rng(0)
    for split in splits:
        for name, colour in COLOURS.items():
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            for i in range(per_class):
                noise = rng.normal(0, 40, (side, side + 8, 3))
                pixels = np.clip(noise + colour, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{i:03}.jpg", quality=90)
    return folder
