"""Several workers: their rows put together are the batches of one, every image counts once, and each reads its own alone."""

import functools
import itertools
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from amount import LONG, examples, sampled
from hypothesis import given, settings
from hypothesis import strategies as some
from photos import write_photos
from splits import grey_split, tfds_builder

from shufflenet_tf.data import pipeline, record_parts, tfds_source
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.data.folder import open_folder, open_unlabelled
from shufflenet_tf.data.record_parts import Parts, Piece
from shufflenet_tf.data.source import Shard, Source, Split
from shufflenet_tf.errors import UserError
from shufflenet_tf.preprocessing import Preprocessing
from shufflenet_tf.training.schedules import image_sides

AUGMENTATIONS = (
    Augmentation(),
    Augmentation(min_area=1, jitter=0, lighting=0, flip=False),
    Augmentation(min_area=0.3, trivial_augment=True, erase=0.5),
    Augmentation(mixup=0.4),
    Augmentation(cutmix=1.0, erase=0.3),
    Augmentation(mixup=0.2, cutmix=1.0, jitter=0),
)
KINDS = ("memory", "folder", "with unlabelled", "cached records", "parts of records")
SIZE, CLASSES = (32, 32), 3


@pytest.fixture(scope="module")
def splits(tmp_path_factory) -> dict[str, Split]:
    """A split of each kind, of sizes that nothing divides."""
    root = tmp_path_factory.mktemp("shards")
    folder = write_photos(root / "folder", 4)
    (folder / "train" / "red" / "000.jpg").unlink()
    source = open_folder(folder, log=lambda _: None)
    other = open_unlabelled(write_photos(root / "other", 2, ("a",)) / "a", log=lambda _: None)
    builder = tfds_builder(root / "tfds", {"train": [0, 1] * 11 + [1], "test": [0, 1] * 7}, files=13)
    with pytest.MonkeyPatch.context() as patch:
        cached = tfds_source.from_builder(builder).train
        patch.setattr(tfds_source, "_MEMORY", 0)
        patch.setattr(record_parts, "_FILES_EACH", 1)
        parts = tfds_source.from_builder(builder).train
    joined = Source("both", ("a", "b", "c"), source.train, source.test, unlabelled=other).all_training
    return dict(zip(KINDS, (grey_split(13), source.train, joined, cached, parts), strict=True))


def rows(split: Split, shard: Shard, batch_size: int, steps: int, start: int = 0, seed: int = 3, which: int = 1, growing=False):
    """The worker's images and labels of some batches."""
    sides = image_sides(SIZE, 0.5, 0.75, 20) if growing else None
    how = (split, Preprocessing(), AUGMENTATIONS[which], SIZE, batch_size, CLASSES, seed, start, sides, shard)
    return list(itertools.islice(pipeline.training_batches(*how).as_numpy_iterator(), steps))


def check_equal(split, count, each, which, seed, start, growing):
    how = {"batch_size": count * each, "steps": 2, "start": start, "seed": seed, "which": which, "growing": growing}
    whole = rows(split, Shard(), **how)
    workers = [rows(split, Shard(index, count), **how) for index in range(count)]
    for step, (images, labels) in enumerate(whole):
        for index, worker in enumerate(workers):
            np.testing.assert_array_equal(worker[step][0], images[index::count])
            np.testing.assert_array_equal(worker[step][1], labels[index::count])


@pytest.mark.parametrize(
    ("kind", "count", "which"),
    [
        ("folder", 2, 5),
        ("parts of records", 3, 0),
        pytest.param("with unlabelled", 2, 4, marks=pytest.mark.long),
        ("cached records", 2, 1),
    ],
)
def test_the_workers_rows_are_the_batches_of_one_worker(splits, kind, count, which):
    # The second batch goes over the end of an epoch of 11, 13 or 23 images.
    check_equal(splits[kind], count, 4, which, seed=3, start=5 if splits[kind].size == 23 else 2, growing=kind == "folder")


@pytest.mark.long
@settings(max_examples=examples(48), deadline=None)
@given(
    kind=some.sampled_from(KINDS),
    count=some.integers(2, 4),
    each=some.sampled_from([2, 4, 6]),
    which=some.integers(0, len(AUGMENTATIONS) - 1),
    seed=some.integers(0, 2**40),
    start=some.integers(0, 9),
    growing=some.booleans(),
)
def test_the_workers_rows_are_those_of_one_worker_whatever_the_settings(splits, kind, count, each, which, seed, start, growing):
    check_equal(splits[kind], count, each, which, seed, start, growing)


@pytest.mark.long
def test_single_images_a_worker(splits):
    whole = rows(splits["memory"], Shard(), 5, 3, which=0)
    for index in range(5):
        for got, expected in zip(rows(splits["memory"], Shard(index, 5), 5, 3, which=0), whole, strict=True):
            np.testing.assert_array_equal(got[0], expected[0][index::5])


@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_has_every_image_once_over_all_workers(splits, kind):
    split = splits[kind]
    contents = sorted(example["image"].numpy() for example in split.examples(None))
    for seed, count in ((None, 2), (5, 3)):
        wanted = [tf.range(split.size) % count == index for index in range(count)]
        seen = [[example["image"].numpy() for example in split.examples(seed, mine)] for mine in wanted]
        assert [len(each) for each in seen] == [len(range(index, split.size, count)) for index in range(count)]
        assert sorted(itertools.chain(*seen)) == contents
        whole = [example["image"].numpy() for example in split.examples(seed)]
        assert all(each == whole[index::count] for index, each in enumerate(seen))
    assert split.size == len(contents)


@pytest.mark.parametrize(
    ("kind", "count", "batch_size"),
    [
        *sampled(lambda kind, count, batch_size: batch_size == 4 and (count == 3) == (kind == "memory"), KINDS, (2, 3), (4, 6)),
        pytest.param("memory", 15, 15, marks=pytest.mark.long),
    ],
)
def test_evaluation_counts_every_image_once(splits, kind, count, batch_size):
    split, contract = splits[kind], Preprocessing(resize=36, crop=32)
    whole = list(pipeline.evaluation_batches(split, contract, SIZE, batch_size, CLASSES).as_numpy_iterator())
    images, labels = (np.concatenate(parts) for parts in zip(*whole, strict=True))
    assert len(images) == split.size
    shapes = set()
    for index in range(count):
        shard = Shard(index, count)
        batches = list(pipeline.evaluation_batches(split, contract, SIZE, batch_size, CLASSES, shard).as_numpy_iterator())
        shapes.add((len(batches), *{len(part) for batch in batches for part in batch}))
        own, own_labels, weights = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        assert set(weights) <= {0, 1} and weights.dtype == np.float32
        np.testing.assert_array_equal(own[weights == 1], images[index::count])
        np.testing.assert_array_equal(own_labels[weights == 1], labels[index::count])
        np.testing.assert_array_equal(own_labels[weights == 0], 0)
    assert len(shapes) == 1, "all have as many batches of the same size"


def test_photos_that_vanish_are_left_out_of_the_evaluation_by_all_workers(tmp_path):
    folder = write_photos(tmp_path, 3)
    split = open_folder(folder, log=lambda _: None).test
    gone = [split.files.index(str(folder / "test" / name)) for name in ("blue/001.jpg", "red/000.jpg")]
    for position in gone:
        pathlib.Path(split.files[position]).unlink()
    counts, positions = [], []
    for index in range(2):
        batches = pipeline.evaluation_batches(split, Preprocessing(), SIZE, 4, CLASSES, Shard(index, 2))
        weights = [weight.numpy() for _, _, weight in batches]
        counts.append((len(weights), np.sum(weights)))
        numbered = pipeline.numbered_evaluation_images(split, Preprocessing(), SIZE, Shard(index, 2))
        positions += [int(position) for position, _, _ in numbered]
    assert [batches for batches, _ in counts] == [3, 3] and sum(seen for _, seen in counts) == 7
    assert sorted(positions) == sorted(set(range(9)) - set(gone))


def test_a_worker_reads_no_photos_of_others(tmp_path, monkeypatch):
    split, opened = open_folder(write_photos(tmp_path, 4), log=lambda _: None).train, []
    loader = "shufflenet_tf.data.checked_photos._Loader._content"
    read = lambda self, photo: (opened.append(photo.path), pathlib.Path(photo.path).read_bytes())[1]  # noqa: E731
    monkeypatch.setattr(loader, read)
    assert len(list(split.examples(3, tf.range(12) % 3 == 1))) == 4
    assert len(opened) == len(set(opened)) == 4


def records(folder: pathlib.Path, sizes: list[int]) -> list[Piece]:
    """Files of so many records, numbered from 0 on through all files; each file has one before and one behind its piece."""
    numbers, pieces = itertools.count(), []
    for file, size in enumerate(sizes):
        with tf.io.TFRecordWriter(str(folder / str(file))) as writer:
            for content in (b"other", *(str(next(numbers)).encode() for _ in range(size)), b"other"):
                writer.write(content)
        pieces.append(Piece(str(folder / str(file)), 1, size + 1))
    return pieces


@settings(max_examples=examples(20), deadline=None)
@given(
    sizes=some.lists(some.integers(0, 5), min_size=1, max_size=9).filter(any),
    count=some.integers(1, 8),
    seed=some.integers(0, 2**50),
)
def test_parts_are_even_and_take_turns(tmp_path_factory, sizes, count, seed):
    size = sum(sizes)
    count = min(count, size)
    parts = Parts(records(tmp_path_factory.mktemp("parts"), sizes), count, 100)
    ends = np.cumsum([len(range(part, size, count)) for part in range(count)])
    for order in (None, seed):
        seen = [int(record) for record in parts.records(order, None).as_numpy_iterator()]
        assert sorted(seen) == list(range(size))
        assert [int(np.searchsorted(ends, number, "right")) for number in seen] == [place % count for place in range(size)]
        for workers in (2, 3) if LONG else (3,):
            for index in range(workers):
                wanted = tf.range(size) % workers == index
                assert [int(r) for r in parts.records(order, wanted).as_numpy_iterator()] == seen[index::workers]


def test_a_worker_opens_no_files_of_others(tmp_path):
    pieces = records(tmp_path, [3] * 8)
    parts = Parts(pieces, 8, 100)
    for piece in pieces[1::2]:
        pathlib.Path(piece.file).unlink()
    assert len(list(parts.records(1, tf.range(24) % 2 == 0))) == 12
    assert len(list(parts.records(None, tf.range(24) % 4 == 2))) == 6
    with pytest.raises(tf.errors.NotFoundError):
        list(parts.records(1, None))


def test_an_order_of_many_parts_is_shuffled_anew_each_epoch(splits):
    orders = {tuple(e["image"].numpy() for e in splits["parts of records"].examples(seed)) for seed in (None, 1, 2, 3)}
    assert len(orders) == 4


def test_mixing_needs_pairs_in_each_worker(splits):
    with pytest.raises(UserError, match="each has 3 of 6, an odd number: give a --batch_size that is a multiple of 4"):
        rows(splits["memory"], Shard(0, 2), 6, 1, which=3)
    assert rows(splits["memory"], Shard(0, 2), 6, 1, which=0)


def test_a_drawn_part_can_be_shared(splits):
    drawn = splits["folder"].drawn(7)
    whole = [example["image"].numpy() for example in drawn.examples(None)]
    assert drawn.size == len(whole) == 7
    shared = functools.partial(drawn.examples, 5)
    assert [[e["image"].numpy() for e in shared(tf.range(7) % 2 == i)] for i in (0, 1)] == [whole[::2], whole[1::2]]
