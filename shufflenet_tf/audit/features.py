"""What photos are compared by: the features of a trained network or, without one, colours and textures."""

import dataclasses
import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from shufflenet_tf import loading
from shufflenet_tf.errors import UserError
from shufflenet_tf.models.image_classifier import CLASSIFIER
from shufflenet_tf.tflite_classifier import LiteClassifier
from shufflenet_tf.weights import download

_NETWORK = "shufflenet_v2_1.0x"  # whose ImageNet weights are downloaded, if that is wanted
_PLAIN_SIDE, _CELLS, _DIRECTIONS, _LEVELS = 64, 4, 8, 4


@dataclasses.dataclass(frozen=True)
class Extractor:
    """From images to features.

    Attributes:
      name: for people.
      size: height and width in pixels of the images.
      margin: the image is cut out of the middle of one that is so many times as large.
      extract: uint8 [N, height, width, 3] -> float32 [N, D].
      is_network: whether it has learned from photos.
    """

    name: str
    size: tuple[int, int]
    margin: float
    extract: Callable[[np.ndarray], np.ndarray]
    is_network: bool

    def prepare(self, image: Image.Image) -> np.ndarray:
        """Returns a photo as `extract` takes it, uint8 [height, width, 3]."""
        height, width = self.size
        whole = round(width * self.margin), round(height * self.margin)
        fitted = ImageOps.fit(image, whole, Image.Resampling.BILINEAR)
        left, top = (whole[0] - width) // 2, (whole[1] - height) // 2
        return np.asarray(fitted.crop((left, top, left + width, top + height)))


def choose(model: str | os.PathLike | None = None, weights: str | os.PathLike | None = None) -> Extractor:
    """Returns what to compare photos by.

    Args:
      model: a trained network, see `loading.load`.
      weights: the same, or "imagenet", which is downloaded once; None: a file for ImageNet that was downloaded before, or
        else colours and textures. Nothing is downloaded unasked.

    Raises:
      UserError: both are given, the file can't be used, or the download failed.
    """
    if model and weights:
        raise UserError(f"Both a model ({model}) and weights ({weights}) are given: give one, whose features are taken.")
    if model:
        return of_network(model)
    if weights == "imagenet":
        return of_network(download.imagenet_file(_NETWORK))
    if weights:
        return of_network(weights)
    names = sorted(download.IMAGENET, key=lambda name: name != _NETWORK)
    if network := next((name for name in names if (download.cache_folder() / download.IMAGENET[name][0]).exists()), None):
        return of_network(download.imagenet_file(network))
    size = (_PLAIN_SIDE, _PLAIN_SIDE)
    return Extractor("colours and textures, as no trained weights are at hand", size, 1.0, colours_and_textures, False)


def of_network(path: str | os.PathLike) -> Extractor:
    """Returns the features in front of a trained network's classifier.

    Raises:
      UserError: it can't be loaded, or has no such features.
    """
    bundle = loading.load(path)
    if isinstance(bundle.model, LiteClassifier):
        raise UserError(f"{path} is a .tflite file, whose features can't be had: give the run or the model.keras it came from.")
    try:
        inner = tf.keras.Model(bundle.model.input, bundle.model.get_layer(CLASSIFIER).input)
    except ValueError:
        raise UserError(f"{path} has no layer named {CLASSIFIER}: give a network that ends with a dense layer.") from None
    call = tf.function(lambda images: inner(bundle.preprocessing.normalize(images), training=False))

    def extract(images: np.ndarray) -> np.ndarray:
        features = call(tf.constant(images)).numpy()
        return features.reshape(len(images), -1).astype(np.float32)

    margin = bundle.preprocessing.resize / bundle.preprocessing.crop
    return Extractor(f"{bundle.model.name} of {os.fspath(path)}", bundle.size, margin, extract, True)


def colours_and_textures(images: np.ndarray) -> np.ndarray:
    """Returns histograms of colours, and of the directions of edges in each of 4x4 cells, float32 [N, D].

    Args:
      images: uint8 [N, 64, 64, 3].
    """
    count = len(images)
    levels = images.astype(np.int64) * _LEVELS // 256
    bins = (levels[..., 0] * _LEVELS + levels[..., 1]) * _LEVELS + levels[..., 2]
    colours = np.sqrt(_histograms(bins.reshape(count, -1), np.ones(1, np.float32), _LEVELS**3))
    side = _PLAIN_SIDE // _CELLS
    cells = images.reshape(count, _CELLS, side, _CELLS, side, 3).mean((2, 4), dtype=np.float32).reshape(count, -1) / 255
    grey = images.mean(-1, dtype=np.float32)
    down, across = np.gradient(grey, axis=(1, 2))
    direction = ((np.arctan2(down, across) % np.pi) / np.pi * _DIRECTIONS).astype(np.int64) % _DIRECTIONS
    place = np.arange(_PLAIN_SIDE) // side
    bins = (place[:, None] * _CELLS + place) * _DIRECTIONS + direction
    edges = _histograms(bins.reshape(count, -1), np.hypot(down, across).reshape(count, -1), _CELLS**2 * _DIRECTIONS)
    return np.concatenate([colours, cells, np.sqrt(edges)], 1).astype(np.float32)


def _histograms(bins: np.ndarray, weights: np.ndarray, count: int) -> np.ndarray:
    """Histograms of rows, each with the sum 1."""
    weights = np.broadcast_to(weights, bins.shape)
    rows = np.stack([np.bincount(row, weight, count) for row, weight in zip(bins, weights, strict=True)])
    return rows / np.maximum(rows.sum(1, keepdims=True), 1e-6)
