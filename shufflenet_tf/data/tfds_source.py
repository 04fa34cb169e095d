"""Any labelled image dataset of TensorFlow Datasets as a source, read without decoding."""

import difflib

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from shufflenet_tf.data import orientation, record_parts
from shufflenet_tf.data.cache import MEMORY, NONE, Cache
from shufflenet_tf.data.labels import normalize
from shufflenet_tf.data.record_parts import Parts, Piece
from shufflenet_tf.data.source import Source, Split, pick
from shufflenet_tf.errors import UserError

# In examples, which are files of about 100 kB in ImageNet; TFDS shuffled the whole dataset when it was prepared.
SHUFFLE_BUFFER = 8192
_TEST_SPLITS = ("test", "validation", "val")
_LOOKED_AT = 20_000  # maximum number of examples of a split whose labels are checked
_MEMORY = 1 << 29  # bytes of encoded images that are kept in memory instead of being read in each epoch

_TFRECORD = tfds.core.file_adapters.FileFormat.TFRECORD


def open_tfds(
    name: str,
    data_dir: str | None = None,
    validation: float = 0.0,
    cache: Cache | None = None,
    service: str | None = None,
) -> Source:
    """Opens `name` of TensorFlow Datasets, downloading and preparing it first if need be, and saying so.

    Args:
      name: such as "cifar10" or "imagenet2012:5.1.0".
      data_dir: where datasets are prepared; None: TFDS's own default.
      validation, service: see `open_source`.
      cache: where files are kept; None: see `Cache`.

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
    return from_builder(builder, image, label, validation=validation, cache=cache, service=service)


def from_builder(
    builder: tfds.core.DatasetBuilder,
    image: str = "image",
    label: str = "label",
    trusted: bool = False,
    validation: float = 0.0,
    cache: Cache | None = None,
    service: str | None = None,
) -> Source:
    """Returns the splits of a prepared builder: train, and a labelled one to test on; if there is none, part of train.

    Args:
      builder: the prepared builder.
      image, label: names of the features.
      trusted: every example is known to have a label; else splits are looked through for those that have none.
      validation, service: see `open_source`.
      cache: where files are kept; None: see `Cache`.

    Raises:
      UserError: it has no train split with labels.
    """
    splits = {split: info.num_examples for split, info in builder.info.splits.items()}
    if not splits.get("train"):
        raise UserError(f"{builder.info.full_name} has no train split, only {', '.join(splits) or 'none'}: choose another.")
    names = tuple(builder.info.features[label].names)
    labels = tuple(normalize(name) for name in names)
    candidates = [split for split in _TEST_SPLITS if splits.get(split)]

    def labelled(split: str) -> float:
        return 1.0 if trusted else _labelled_share(builder, split, label, len(labels))

    shares = {"train": labelled("train")}
    if not shares["train"]:
        raise UserError(f"{builder.info.full_name} has no labels in its train split: choose another dataset.")
    found: list[str] = []  # the splits to test on and, if wanted, to validate on
    while candidates and len(found) < (2 if validation else 1):
        split = candidates.pop(0)
        shares[split] = labelled(split)
        found += [split] if shares[split] else []
    names_of = _slices(splits["train"], *found[:2], validation=validation)
    test = found[0] if found else ""
    some = {split: "some" if share else "only" for split, share in shares.items() if share < 1}
    if missing := [f"{split} has {how} examples without a label" for split, how in some.items()]:
        where = test or "a tenth of train"
        print(f"{builder.info.full_name}: {' and '.join(missing)}; testing on {where}, on labelled examples alone", flush=True)
    limits = {name: len(labels) if share < 1 else None for name, share in shares.items()}
    cache = cache or Cache()
    sides = {
        side: _split(builder, name, image, label, limits[name.split("[")[0]], cache, service if side == "train" else None)
        for side, name in names_of.items()
    }
    return Source(builder.info.full_name, labels if len(set(labels)) == len(set(names)) else names, **sides)


def _slices(images: int, test: str = "", chosen_on: str = "", validation: float = 0.0) -> dict[str, str]:
    """Returns TFDS's names of the splits by side; what is missing comes from the end of train's `images`."""
    end = images if test else round(images * 0.9)
    begin = end - round(end * validation) if not chosen_on else end
    sides = {"train": "train" if begin == images else f"train[:{begin}]", "test": test or f"train[{end}:]"}
    if chosen_on or begin < end:
        sides["validation"] = chosen_on or f"train[{begin}:{end}]"
    return sides


def _labelled_share(builder: tfds.core.DatasetBuilder, split: str, label: str, classes: int) -> float:
    """Returns the share of the first examples whose label is a class; TFDS's label for an unknown class is -1."""
    total = min(builder.info.splits[split].num_examples, _LOOKED_AT)
    return _count_labelled(_label_values(builder, split, label).take(total), classes) / total


def _label_values(builder: tfds.core.DatasetBuilder, split: str, label: str) -> tf.data.Dataset:
    decoders = tfds.decode.PartialDecoding({label: True})
    config = tfds.ReadConfig(try_autocache=False)
    dataset = builder.as_dataset(split=split, shuffle_files=False, decoders=decoders, read_config=config)
    return dataset.map(lambda example: tf.cast(example[label], tf.int64))


def _count_labelled(values: tf.data.Dataset, classes: int) -> int:
    return int(values.reduce(np.int64(0), lambda count, value: count + tf.cast((value >= 0) & (value < classes), tf.int64)))


def _split(
    builder: tfds.core.DatasetBuilder,
    name: str,
    image: str,
    label: str,
    classes: int | None,
    cache: Cache,
    service: str | None,
) -> Split:
    """Returns a split of a builder. `classes`: leaves out examples whose label is not below this number; None: keeps all."""
    info, whole = builder.info.splits[name], builder.info.splits[name.split("[")[0]]
    size = info.num_examples if classes is None else _count_labelled(_label_values(builder, name, label), classes)
    decoders = {image: tfds.decode.SkipDecoding()}

    def essential(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        content = example[image]
        return {"image": content, "label": tf.cast(example[label], tf.int64), "orientation": orientation.read(content)}

    is_small = size * whole.num_bytes / max(1, whole.num_examples) < _MEMORY
    if not is_small and classes is None and builder.info.file_format == _TFRECORD:
        pieces = [Piece(str(file.filename), file.skip, file.skip + file.take) for file in info.file_instructions]
        stats = {piece.file: tf.io.gfile.stat(piece.file) for piece in pieces} if cache.keeps_files else {}
        cache.check_fits([(file, (stat.length, stat.mtime_nsec)) for file, stat in stats.items()], builder.info.full_name)
        local = cache.local if cache.keeps_files and not service else None
        records = Parts(pieces, record_parts.parts_for(len(pieces)), SHUFFLE_BUFFER, local).records

        def parse(record: tf.Tensor) -> dict[str, tf.Tensor]:
            return essential(builder.info.features.deserialize_example(record, decoders=decoders))

        def parsed(seed: tf.Tensor | int | None, wanted: tf.Tensor | None = None) -> tf.data.Dataset:
            return records(seed, wanted).map(parse, num_parallel_calls=tf.data.AUTOTUNE)

        return Split(size, parsed, service=service)

    config = tfds.ReadConfig(try_autocache=False)
    raw = builder.as_dataset(split=name, shuffle_files=False, decoders=decoders, read_config=config)
    if classes is not None:
        raw = raw.filter(lambda example: (example[label] >= 0) & (tf.cast(example[label], tf.int64) < classes))
    raw = raw.map(essential, num_parallel_calls=tf.data.AUTOTUNE)
    if ((is_small and cache.place != NONE) or cache.place == MEMORY) and not service:
        raw = raw.cache()

    def examples(seed: tf.Tensor | int | None, wanted: tf.Tensor | None = None) -> tf.data.Dataset:
        ordered = raw if seed is None else record_parts.shuffle(raw, min(size, SHUFFLE_BUFFER), seed)
        return pick(ordered, wanted)

    return Split(size, examples, service=service)


def _keys(builder: tfds.core.DatasetBuilder, name: str) -> tuple[str, str]:
    """Returns the names of the image feature and of the label feature."""
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
        f"tfds:{name} is not in {builder.data_dir} yet: downloading {size} from {page}; TFDS verifies the checksums.",
        flush=True,
    )
    try:
        builder.download_and_prepare()
    except AssertionError as error:  # TFDS asks in this way for files that require a login
        reason = " ".join(str(error).split())
        raise UserError(f"tfds:{name} must be fetched by hand: {reason}") from None
    except (OSError, tfds.download.DownloadError, tf.errors.OpError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise UserError(
            f"tfds:{name} could not be fetched ({reason}): check the connection, "
            "or prepare it elsewhere and give its folder with --data_dir."
        ) from None
