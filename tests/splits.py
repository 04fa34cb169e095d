"""Small splits for tests: images in memory, and datasets of TensorFlow Datasets in files."""

import io
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from shufflenet_tf.data.source import Split, pick


def grey_split(size: int = 10, side: int = 40) -> Split:
    """Images of one grey value each, which is 20 times the index (up to 12) and so tells which one it is."""
    return _split([np.full((side, side + 8, 3), 20 * i % 256, np.uint8) for i in range(size)])


def noisy_split(size: int, seed: int, side: int = 40) -> Split:
    """Images of random patches, one of whose colours is twice as bright: the class. Their contrast is high.

    tf_keras computes a synchronized variance as E[x^2] - E[x]^2, which of images of little contrast is all rounding.
    """
    dice = np.random.default_rng(seed)
    images = [np.kron(dice.uniform(0, 120, (5, 5, 3)), np.ones((side // 5, side // 5, 1))) for _ in range(size)]
    return _split([(image * np.where(np.arange(3) == i % 3, 2, 1)).astype(np.uint8) for i, image in enumerate(images)])


def _split(images: Sequence[np.ndarray]) -> Split:
    """Returns a split of three classes in turn."""
    size, files = len(images), tf.constant([tf.io.encode_png(image).numpy() for image in images])

    def examples(seed, wanted=None):
        order = tf.range(size)
        if seed is not None:
            order = tf.random.experimental.stateless_shuffle(order, tf.stack([tf.cast(seed, tf.int64), 0]))
        return pick(tf.data.Dataset.from_tensor_slices(order), wanted).map(
            lambda i: {"image": files[i], "label": tf.cast(i % 3, tf.int64), "orientation": 1}
        )

    return Split(size, examples)


def photo(number: int, orientation: int = 1) -> io.BytesIO:
    """A JPEG whose red tells the number."""
    stored, exif, content = Image.new("RGB", (20, 12), (9 * number % 256, 90, 200)), Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    stored.save(content, "JPEG", exif=exif)
    content.seek(0)
    return content


def tfds_builder(
    folder: pathlib.Path, splits: Mapping[str, Sequence[int]], files: int | None = None
) -> tfds.core.DatasetBuilder:
    """Returns a prepared dataset of the labels {split: [...]}, in so many files a split; every second photo is to be turned."""

    class Own(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = type(tfds.core.tfds_path())(folder)

        def _info(self):
            label = tfds.features.ClassLabel(names=["cat ", "cafe\u0301"])
            features = tfds.features.FeaturesDict({"image": tfds.features.Image(encoding_format="jpeg"), "label": label})
            return self.dataset_info_from_configs(features=features, supervised_keys=("image", "label"))

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(labels) for split, labels in splits.items()}

        def _generate_examples(self, labels):
            for number, label in enumerate(labels):
                yield number, {"image": photo(number, 6 if number % 2 else 1), "label": label}

    folder.mkdir(exist_ok=True)  # TFDS looks for metadata there
    builder = Own(data_dir=folder / "data")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=files))
    return builder
