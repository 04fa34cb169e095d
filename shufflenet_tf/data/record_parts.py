"""Reads the record files of a large dataset in parts that many processes share, in one order whatever their number.

The records are divided into parts of equal size, one behind the other. An epoch takes one record of each part in turn, so that
the record at place p is of part p % parts, and each part is shuffled by itself. Of N workers, where N divides the number of
parts, each then reads its own parts and no others.
"""

import dataclasses
from collections.abc import Callable, Sequence

import tensorflow as tf

from shufflenet_tf.data.source import pick

_PARTS = (192, 96, 48, 24, 12, 8, 4, 2)  # many numbers of workers divide these
_FILES_EACH = 4  # files a part, at least: a file on a border is read for both sides


@dataclasses.dataclass(frozen=True)
class Piece:
    """Records `begin` to `end` of a TFRecord file."""

    file: str
    begin: int
    end: int


def parts_for(files: int) -> int:
    """Returns into how many parts a dataset of so many files is divided; it must not depend on the number of workers."""
    return next((parts for parts in _PARTS if files >= parts * _FILES_EACH), 1)


class Parts:
    """The records of some files, in parts.

    Args:
      pieces: of files, in order.
      count: number of parts; their sizes differ by one at most, and the larger ones come first.
      buffer: number of records, over all parts, out of which the next ones are drawn.
      local: returns the path of a copy of a file; None: files are read where they are.
    """

    def __init__(self, pieces: Sequence[Piece], count: int, buffer: int, local: Callable[[str], str] | None = None):
        self.count, self._buffer = count, max(1, buffer // count)
        self._local = local
        size = sum(piece.end - piece.begin for piece in pieces)
        ends = [size // count * (part + 1) + min(part + 1, size % count) for part in range(count)]
        cut = _cut(pieces, ends)
        self._files = tf.constant([piece.file for part in cut for piece in part])
        self._begins = tf.constant([piece.begin for part in cut for piece in part], tf.int64)
        self._ends = tf.constant([piece.end for part in cut for piece in part], tf.int64)
        self._pieces = tf.cumsum([0, *map(len, cut)])  # part v has those from the v-th to the next number

    def records(self, seed: tf.Tensor | int | None, wanted: tf.Tensor | None) -> tf.data.Dataset:
        """Returns the records, as strings; for seed and `wanted`, see `Split`. Parts without a wanted record aren't read."""
        parts = tf.range(self.count, dtype=tf.int64)
        if wanted is not None:
            turns = tf.reshape(tf.pad(wanted, [(0, -tf.size(wanted) % self.count)]), (-1, self.count))
            needed = tf.reduce_any(turns, 0)
            wanted = tf.reshape(tf.boolean_mask(turns, needed, axis=1), [-1])
            parts = tf.boolean_mask(parts, needed)
        in_turn = tf.data.Dataset.from_tensor_slices(parts).interleave(
            lambda part: self._part(part, seed),
            cycle_length=self.count,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        return pick(in_turn, wanted)

    def _part(self, part: tf.Tensor, seed: tf.Tensor | int | None) -> tf.data.Dataset:
        here = slice(self._pieces[part], self._pieces[part + 1])
        pieces = tf.data.Dataset.from_tensor_slices((self._files[here], self._begins[here], self._ends[here]))

        def opened(file: tf.Tensor, begin: tf.Tensor, end: tf.Tensor) -> tf.data.Dataset:
            if self._local:
                file = tf.ensure_shape(tf.numpy_function(lambda path: self._local(path.decode()), [file], tf.string), [])
            return tf.data.TFRecordDataset(file).skip(begin).take(end - begin)

        records = pieces.flat_map(opened)
        if seed is None:
            return records
        return shuffle(records, self._buffer, tf.cast(seed, tf.int64) * self.count + part)


def shuffle(examples: tf.data.Dataset, buffer: int, seed: tf.Tensor | int) -> tf.data.Dataset:
    """Shuffles by a seed alone."""
    if not tf.executing_eagerly():
        # Else the order would depend on the global seed too, and TensorFlow fails on a global seed of 0 with a tensor.
        tf.random.set_seed(1)
    return examples.shuffle(buffer, seed=seed, reshuffle_each_iteration=False)


def _cut(pieces: Sequence[Piece], ends: Sequence[int]) -> list[list[Piece]]:
    """Returns the pieces of each part, where `ends` are the numbers of records up to the end of each part."""
    parts: list[list[Piece]] = []
    left, done = list(pieces[::-1]), 0
    for end in ends:
        part: list[Piece] = []
        while done < end:
            piece = left.pop()
            taken = min(piece.end, piece.begin + end - done)
            part.append(dataclasses.replace(piece, end=taken))
            done += taken - piece.begin
            if taken < piece.end:
                left.append(dataclasses.replace(piece, begin=taken))
        parts.append(part)
    return parts
