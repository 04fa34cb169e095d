"""Bad photos are found among good ones, and no good ones."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from shufflenet_tf.audit import quality
from shufflenet_tf.audit.records import BLURRED, BRIGHT, DARK, EMPTY, TINY


def photo(seed: int, side: int = 160) -> Image.Image:
    """Sharp squares of random sizes and colours, with the noise of a camera."""
    rng = np.random.default_rng(seed)
    pixels = np.full((side, side + 40, 3), rng.integers(60, 200, 3), float)
    for _ in range(40):
        x, y, w = *rng.integers(0, side, 2), rng.integers(5, 40)
        pixels[y : y + w, x : x + w] = rng.integers(30, 220, 3)
    return Image.fromarray(np.clip(pixels + rng.normal(0, 3, pixels.shape), 0, 255).astype(np.uint8))


BAD = {
    BLURRED: lambda image: image.filter(ImageFilter.GaussianBlur(3)),
    DARK: lambda image: ImageEnhance.Brightness(image).enhance(0.15),
    BRIGHT: lambda image: Image.blend(image, Image.new("RGB", image.size, "white"), 0.85),
    EMPTY: lambda image: Image.new("RGB", image.size, (90, 100, 110)),
    TINY: lambda image: image.resize((60, 48)),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_photos_are_found(kind):
    images = {f"good{seed}": photo(seed) for seed in range(20)} | {"bad": BAD[kind](photo(99))}
    findings, notes = quality.judge({path: quality.measure(image, image.size) for path, image in images.items()})
    assert [(finding.kind, finding.photo) for finding in findings if finding.kind == kind] == [(kind, "bad")]
    assert {finding.photo for finding in findings} == {"bad"} and not notes
    assert all(0 <= finding.score <= 1 for finding in findings)


def test_a_set_of_tiny_photos_is_said_once():
    images = {f"{seed}": photo(seed, 32) for seed in range(12)}
    findings, notes = quality.judge({path: quality.measure(image, image.size) for path, image in images.items()})
    assert not [finding for finding in findings if finding.kind == TINY]
    assert notes == ["12 of 12 photos have fewer than 96 pixels in their shorter side."]
