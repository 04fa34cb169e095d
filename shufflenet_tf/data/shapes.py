"""The embedded dataset `shapes`: ten kinds of signs, drawn here, so that a first training run needs no download.

`python -m shufflenet_tf.data.shapes --preview=sheet.png` draws a contact sheet of it.
"""

import argparse
import colorsys
import contextlib
import dataclasses
import functools
import io
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image, ImageDraw, ImageFilter

from shufflenet_tf.files import atomic_path

SIZE = 96
SPLITS = ("train", "test")
SUPERSAMPLE = 2
LUMINANCE = np.array([0.299, 0.587, 0.114])
JPEG_QUALITY = 90
OWN_COLOUR = 0.3  # share of signs in the colour of their class, as is common for real signs


def _arc(radius: float, x: float = 0.0, y: float = 0.0, start: float = 0.0, end: float = 360.0) -> np.ndarray:
    angle = np.radians(np.linspace(start, end, 40, endpoint=abs(end - start) < 360))
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)


def _mirrored(half: list[list[float]]) -> np.ndarray:
    """Returns a closed polygon for one half of it, from tip to tail; the x axis is the mirror."""
    return np.array([*half, *([x, -y] for x, y in half[::-1])])


def _glyphs() -> dict[str, list[np.ndarray]]:
    """Returns closed polygons in [-1, 1] x [-1, 1], y downwards, by class: a silhouette, then its holes."""
    crescent = [_arc(1, start=50, end=310), _arc(0.85, x=0.27, start=-64.3, end=-295.7)]
    fish = [[x, 0.54 * (1 - ((x - 0.22) / 0.8) ** 2)] for x in np.linspace(1, -0.52, 24)] + [[-1, 0.55], [-0.8, 0]]
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    heart_y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    roof = [[0, -0.95], [0.4, -0.6], [0.4, -0.9], [0.65, -0.9], [0.65, -0.38], [0.98, -0.1], [0.72, -0.1], [0.72, 0.85]]
    teeth = [[1, -0.12], [1, 0.5], [0.8, 0.5], [0.8, 0.12], [0.58, 0.12], [0.58, 0.5], [0.38, 0.5], [0.38, 0.12]]
    bolt = [[0.2, -1], [-0.65, 0.16], [-0.1, 0.16], [-0.36, 1], [0.65, -0.26], [0.08, -0.26], [0.54, -1]]
    plus = np.array([[1, -0.27], [1, 0.27], [0.27, 0.27]])
    star = _arc(1)[::4] * np.where(np.arange(10) % 2, 0.43, 1)[:, None]
    return {
        "arrow": [_mirrored([[1, 0], [0.05, 0.7], [0.05, 0.21], [-1, 0.21]])],
        "crescent": [np.concatenate(crescent)],
        "cross": [np.concatenate([plus, plus[:, ::-1] * [-1, 1], -plus, plus[:, ::-1] * [1, -1]])],
        "fish": [_mirrored(fish), _arc(0.1, x=0.55, y=-0.1)],
        "heart": [np.stack([np.sin(t) ** 3, -(heart_y + 2.5) / 15.5], axis=1)],
        "house": [
            np.array([*roof, [-0.72, 0.85], [-0.72, -0.1], [-0.98, -0.1]]),
            np.array([[-0.2, 0.85], [-0.2, 0.28], [0.2, 0.28], [0.2, 0.85]]),
        ],
        "key": [np.concatenate([_arc(0.48, x=-0.52, start=14.5, end=345.5), teeth]), _arc(0.24, x=-0.52)],
        "lightning": [np.array(bolt)],
        "ring": [_arc(0.95), _arc(0.55)],
        "star": [star[:, ::-1]],
    }


GLYPHS = _glyphs()
LABELS = tuple(GLYPHS)


@functools.lru_cache
def _grid(size: int) -> np.ndarray:
    """Returns pixel coordinates from -1 to 1, [size, size, 2]."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    return np.stack(np.meshgrid(axis, axis), axis=-1)


def _ramp(rng: np.random.Generator, size: int) -> np.ndarray:
    """Returns a plane that rises from about -1 to 1 in a random direction, [size, size]."""
    angle = rng.uniform(0, 2 * np.pi)
    return _grid(size) @ np.array([np.cos(angle), np.sin(angle)], np.float32)


def _colours(rng: np.random.Generator, label: int) -> list[tuple[int, ...]]:
    """Returns ten RGB colours: the sign's, sometimes that of its class, then nine that contrast with it."""
    colours = rng.integers(10, 245, (64, 3))
    if rng.random() < OWN_COLOUR:
        hue = (label + rng.uniform(-0.3, 0.3)) / len(LABELS)
        colours[0] = 255 * np.array(colorsys.hsv_to_rgb(hue % 1, rng.uniform(0.6, 1), rng.uniform(0.5, 1)))
    apart = np.argsort(-np.abs((colours - colours[0]) @ LUMINANCE))[:9]
    return [tuple(colour) for colour in colours[[0, *rng.permutation(apart)[:9]]].tolist()]


def _blob(rng: np.random.Generator, centre: np.ndarray, radius: float) -> np.ndarray:
    """Returns the outline of a smooth lump, [28, 2]."""
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    waves = sum(rng.uniform(0, 0.2) * np.sin(k * angle + rng.uniform(0, 6)) for k in (2, 3))
    lump = np.stack([np.cos(angle), np.sin(angle) * rng.uniform(0.5, 1)], axis=1) * (1 + waves)[:, None]
    return lump * radius + centre


def _background(rng: np.random.Generator, size: int, colours: list[tuple[int, ...]]) -> Image.Image:
    """Draws a gradient of the first two colours, stripes, noise, and clutter in the others; supersampled."""
    side = SUPERSAMPLE * size
    near, far = np.array(colours[:2])
    texture = np.zeros((size, size), np.float32)
    if rng.random() < 0.4:
        wave = np.sin(rng.uniform(6, 40) * _ramp(rng, size))
        texture += rng.uniform(4, 12) * (np.sign(wave) if rng.random() < 0.5 else wave)
    for cells in rng.choice([3, 6, 12, 24, 48], 2, replace=False):
        noise = Image.fromarray(rng.integers(0, 256, (cells, cells), dtype=np.uint8)).resize((size, size))
        texture += rng.uniform(0, 0.14) * (np.asarray(noise, np.float32) - 128)
    blend = np.clip(0.5 + rng.uniform(0, 0.6) * _ramp(rng, size), 0, 1)[..., None]
    image = np.clip(near + (far - near) * blend + texture[..., None], 0, 255).astype(np.uint8)
    canvas = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)
    pen = ImageDraw.Draw(canvas)
    for colour in colours[2 : rng.integers(2, 4)]:
        if rng.random() < 0.5:
            # From edge to edge: two short lines that meet would be a cross.
            a, b = rng.uniform(-0.5, 1.5, 2) * side
            line = [-2, a, side + 2, b] if rng.random() < 0.5 else [a, -2, b, side + 2]
            pen.line(line, fill=colour, width=int(side * rng.uniform(0.01, 0.04)))
        else:
            lump = _blob(rng, rng.uniform(0, side, 2), side * rng.uniform(0.04, 0.15))
            pen.polygon(lump.ravel().tolist(), fill=colour)
    return canvas


def _stencil(side: int, contours: list[np.ndarray], stroke: int = 0) -> Image.Image:
    """Returns the mask of a silhouette without its holes or, when `stroke` (in pixels) is given, of their outlines."""
    mask = Image.new("L", (side, side))
    pen = ImageDraw.Draw(mask)
    for i, points in enumerate(contours):
        if stroke:
            pen.line(np.concatenate([points, points[:2]]).ravel().tolist(), fill=255, width=stroke, joint="curve")
        else:
            pen.polygon(points.ravel().tolist(), fill=0 if i else 255)
    return mask


class _Pose:
    """A random place, size, rotation and tilt; maps glyph coordinates [n, 2] to pixels."""

    def __init__(self, rng: np.random.Generator, side: int, radius: float, reach: float):
        self.centre = side / 2 + rng.uniform(-0.7, 0.7, 2) * max(0.0, side / 2 - reach)
        self.radius = radius
        self.turn, self.tilt, axis = rng.uniform([-0.15, 0, 0], [0.15, 0.35, 2 * np.pi])  # radians
        self.along = np.array([np.cos(axis), np.sin(axis)])

    def __call__(self, points: np.ndarray, turn: float = 1.0) -> np.ndarray:
        c, s = np.cos(turn * self.turn), np.sin(turn * self.turn)
        points = points @ np.array([[c, s], [-s, c]])
        # A pinhole three radii away: parts that are tilted back look smaller, and everything is foreshortened.
        depth = (points @ self.along)[:, None]
        flat = points - depth * self.along * (1 - np.cos(self.tilt))
        return flat / (1 + depth * np.sin(self.tilt) / 3) * self.radius + self.centre


def _add_sign(rng: np.random.Generator, canvas: Image.Image, label: int, colours: list[tuple[int, ...]]) -> None:
    """Draws the sign filled, outlined, or as a pictogram on a plate, and sometimes a lump that hides a part of it."""
    side = canvas.width
    ink, paper, cover = colours
    style = rng.choice(["filled", "outlined", "plate"], p=[0.75, 0.05, 0.2])
    low, high = {"filled": (0.72, 0.9), "outlined": (0.76, 0.9), "plate": (0.6, 0.68)}[style]
    radius = side / 2 * rng.uniform(low, high)
    pose = _Pose(rng, side, radius, radius * (1.4 if style == "plate" else 0.9))

    stretch = rng.uniform(0.92, 1.08, 2) * [rng.choice([-1, 1]), 1]
    silhouette, *holes = GLYPHS[LABELS[label]]
    holes = [hole.mean(0) + (hole - hole.mean(0)) * rng.uniform(0.85, 1.15) for hole in holes]
    contours = [pose(points * stretch) for points in (silhouette, *holes)]
    stroke = 0
    if style == "plate":
        corner = rng.choice([0.05, 0.35, 1.3])  # a square, a rounded one, a disc
        quarter = _arc(corner, x=1.3 - corner, y=1.3 - corner, start=0, end=90)
        plate = np.concatenate([quarter, quarter[::-1] * [-1, 1], -quarter, quarter[::-1] * [1, -1]])
        plate = [pose(plate, turn=rng.uniform(-0.5, 1))]
        canvas.paste(paper, mask=_stencil(side, plate))
        if corner < 1 and rng.random() < 0.5:  # a disc with a rim would be a ring
            canvas.paste(ink, mask=_stencil(side, plate, stroke=int(radius * 0.1)))
    elif style == "outlined":
        stroke = max(4, int(radius * rng.uniform(0.12, 0.2)))
    elif rng.random() < 0.4:
        canvas.paste(paper, mask=_stencil(side, contours, stroke=int(radius * rng.uniform(0.12, 0.3))))
    mask = _stencil(side, contours, stroke)
    canvas.paste(ink, mask=mask)
    if rng.random() < 0.1:
        lump = _stencil(side, [_blob(rng, pose.centre + rng.uniform(-1, 1, 2) * radius, radius * 0.4)])
        hidden = np.count_nonzero(np.asarray(mask) & np.asarray(lump)) / np.count_nonzero(mask)
        if hidden < 0.12:
            canvas.paste(cover, mask=lump)


def draw(split: str, index: int, size: int = SIZE) -> tuple[np.ndarray, int]:
    """Draws one image: a pure function of its arguments.

    Args:
      split: "train" or "test".
      index: index of the image in the split, from 0; classes alternate.
      size: height and width in pixels.

    Returns:
      The image, uint8 RGB [size, size, 3], and its class index.
    """
    rng = np.random.Generator(np.random.PCG64([SPLITS.index(split), index]))
    label = index % len(LABELS)
    ink, *others = _colours(rng, label)
    canvas = _background(rng, size, others[:7])
    _add_sign(rng, canvas, label, (ink, *others[7:]))
    blur = size * rng.uniform(0, 0.011) * rng.uniform()
    image = np.asarray(canvas.reduce(SUPERSAMPLE).filter(ImageFilter.GaussianBlur(blur)), np.float32)
    light = rng.uniform(0.75, 1.15) * np.exp(rng.uniform(0, 0.4) * _ramp(rng, size))
    if rng.random() < 0.25:  # the edge of a shadow
        light *= 1 - 0.35 / (1 + np.exp(-30 * (_ramp(rng, size) - rng.uniform(-0.6, 0.6))))
    image *= light[..., None] * rng.uniform(0.88, 1.0, 3).astype(np.float32)
    image += rng.uniform(1, 7) * rng.standard_normal(image.shape, np.float32)
    return np.clip(image, 0, 255).astype(np.uint8), label


@dataclasses.dataclass
class ShapesConfig(tfds.core.BuilderConfig):
    """The number of images to train and to test on."""

    train: int = 6000
    test: int = 1000


class Shapes(tfds.core.GeneratorBasedBuilder):
    """Signs of ten kinds on busy backgrounds, 96x96 pixels."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Ten classes, 6000 images to train on and 1000 to test on."}  # noqa: RUF012, TFDS's form
    BUILDER_CONFIGS = [ShapesConfig(name="full"), ShapesConfig(name="tiny", train=200, test=100)]  # noqa: RUF012

    def _info(self) -> tfds.core.DatasetInfo:
        features = {"image": tfds.features.Image(shape=(SIZE, SIZE, 3)), "label": tfds.features.ClassLabel(names=LABELS)}
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
            # The files stay in the order of the drawing, in which classes alternate.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        return {split: self._generate_examples(split, getattr(self.builder_config, split)) for split in SPLITS}

    def _generate_examples(self, split: str, count: int) -> Iterator[tuple[int, dict]]:
        for index in range(count):
            pixels, label = draw(split, index)
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "jpeg", quality=JPEG_QUALITY)
            file.seek(0)
            yield index, {"image": file, "label": label}


def prepare(data_dir: str | None = None, config: str | None = None) -> Shapes:
    """Returns the prepared dataset, drawn first if it isn't there; nothing is downloaded.

    Args:
      data_dir: where TFDS keeps its datasets; None: its default.
      config: "full" (the default), or "tiny" for 200 images to train and 100 to test on.
    """
    builder = Shapes(data_dir=data_dir, config=config or "full")
    if builder.is_prepared():
        return builder
    images = builder.builder_config.train + builder.builder_config.test
    print(f"Drawing the dataset 'shapes' ({images:,} images) into {builder.data_dir}", flush=True)
    tfds.disable_progress_bar()
    try:
        # TFDS writes into a folder of another name, so that an interrupted drawing is not mistaken for a complete one. Its
        # messages are suppressed because they are about downloading.
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
    except OSError:
        builder = Shapes(data_dir=data_dir, config=config or "full")
        if not builder.is_prepared():  # else another process has drawn the same at the same time
            raise
    finally:
        tfds.enable_progress_bar()
    return builder


def _preview(path: str, columns: int = 16) -> None:
    sheet = Image.new("RGB", (80 + columns * SIZE, len(LABELS) * SIZE), "white")
    for index in range(columns * len(LABELS)):
        image, label = draw("train", index)
        sheet.paste(Image.fromarray(image), (80 + index // len(LABELS) * SIZE, label * SIZE))
    for label, name in enumerate(LABELS):
        ImageDraw.Draw(sheet).text((6, (label + 0.45) * SIZE), name, fill="black")
    with atomic_path(path) as temporary:
        sheet.save(temporary)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m shufflenet_tf.data.shapes", description=__doc__.split("\n")[0])
    parser.add_argument("--preview", required=True, metavar="FILE", help="picture to write, with a row of examples per class")
    _preview(parser.parse_args().preview)
