"""Any labelled image dataset of TensorFlow Datasets as a source, read without decoding."""

import difflib

import tensorflow as tf
import tensorflow_datasets as tfds

from shufflenet_tf.data.source import Source, Split
from shufflenet_tf.errors import UserError

# Examples, which are files of about 100 kB in ImageNet; TFDS has shuffled the whole dataset once when it was prepared.
SHUFFLE_BUFFER = 8192
_MEMORY = 1 << 29  # bytes of encoded images that are kept in memory instead of being read in each epoch


def open_tfds(name: str, data_dir: str | None = None) -> Source:
    """Opens `name` of TensorFlow Datasets, downloading and preparing it first if need be, and saying so.

    Args:
      name: such as "cifar10" or "imagenet2012:5.1.0".
      data_dir: where datasets are prepared; None: TFDS's own default.

    Raises:
      UserError: an unknown name, a dataset without images and classes, or one that can't be fetched.
    """
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        near = difflib.get_close_matches(name, tfds.list_builders(with_community_datasets=False), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else str(error).strip().splitlines()[0]
        raise UserError(f"TensorFlow Datasets has no dataset {name!r}: {hint}") from None
    image, label = _keys(builder, name)
    _prepare(builder, name)
    return from_builder(builder, image, label)


def from_builder(builder: tfds.core.DatasetBuilder, image: str = "image", label: str = "label") -> Source:
    """Returns the splits of a prepared builder: train, and test or, where that has no examples, validation.

    Raises:
      UserError: it has no such splits.
    """
    splits = {split: info.num_examples for split, info in builder.info.splits.items()}
    test = next((split for split in ("test", "validation", "val") if splits.get(split)), None)
    # The public test split of ImageNet has no labels.
    test = "validation" if builder.name.startswith("imagenet") and splits.get("validation") else test
    if not splits.get("train"):
        raise UserError(f"{builder.info.full_name} has no train split, only {', '.join(splits) or 'none'}: choose another.")
    names = ("train", test) if test else ("train[:90%]", "train[90%:]")
    labels = tuple(builder.info.features[label].names)
    return Source(builder.info.full_name, labels, *(_split(builder, split, image, label) for split in names))


def _split(builder: tfds.core.DatasetBuilder, name: str, image: str, label: str) -> Split:
    info = builder.info.splits[name]
    raw = builder.as_dataset(
        split=name,
        shuffle_files=False,
        decoders={image: tfds.decode.SkipDecoding()},
        read_config=tfds.ReadConfig(try_autocache=False),
    )
    raw = raw.map(
        lambda example: {
            "image": example[image],
            "label": tf.cast(example[label], tf.int64),
            "orientation": tf.constant(1, tf.int32),
        },
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    size = info.num_examples
    bytes_each = builder.info.splits[name.split("[")[0]].num_bytes / max(
        1, builder.info.splits[name.split("[")[0]].num_examples
    )
    if size * bytes_each < _MEMORY:
        raw = raw.cache()

    def examples(seed: tf.Tensor | int | None) -> tf.data.Dataset:
        if seed is None:
            return raw
        if not tf.executing_eagerly():
            # Else the order would depend on the global seed too, and TensorFlow fails on a global seed of 0 with a tensor.
            tf.random.set_seed(1)
        return raw.shuffle(min(size, SHUFFLE_BUFFER), seed=seed, reshuffle_each_iteration=False)

    return Split(size, examples)


def _keys(builder: tfds.core.DatasetBuilder, name: str) -> tuple[str, str]:
    """Returns the names of the image and of the label among the features."""
    features = dict(builder.info.features)
    images = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
    labels = [key for key, feature in features.items() if isinstance(feature, tfds.features.ClassLabel)]
    supervised = builder.info.supervised_keys or ()
    image = next((key for key in supervised if key in images), images[0] if images else None)
    label = next((key for key in supervised if key in labels), labels[0] if labels else None)
    if image is None or label is None:
        raise UserError(
            f"tfds:{name} has no image with a class label, only {', '.join(features)}: choose a classification dataset."
        )
    return image, label


def _prepare(builder: tfds.core.DatasetBuilder, name: str) -> None:
    if builder.is_prepared():
        return
    size = builder.info.download_size
    page = builder.info.homepage or "its publisher"
    print(
        f"tfds:{name} is not in {builder.data_dir} yet: fetching {size} from {page}; TFDS verifies the checksums.",
        flush=True,
    )
    try:
        builder.download_and_prepare()
    except AssertionError as error:  # TFDS's way to ask for files that need a log-in
        reason = " ".join(str(error).split())
        raise UserError(f"tfds:{name} must be fetched by hand: {reason}") from None
    except (OSError, tfds.download.DownloadError, tf.errors.OpError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise UserError(
            f"tfds:{name} could not be fetched ({reason}): check the connection, "
            "or prepare it elsewhere and give its folder by --data_dir."
        ) from None
