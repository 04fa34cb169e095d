"""TensorFlow Datasets: splits without labels are found out, and encoded photos keep their orientation."""

import numpy as np
import pytest
from splits import tfds_builder

from shufflenet_tf.data import tfds_source
from shufflenet_tf.data.decode import decode
from shufflenet_tf.errors import UserError


@pytest.fixture
def source(tmp_path):
    """Opens a data set of the labels {split: [...]}; every second photo is to be turned."""
    return lambda splits: tfds_source.from_builder(tfds_builder(tmp_path, splits))


LABELLED, UNLABELLED = [0, 1] * 6, [-1] * 4


@pytest.mark.parametrize(
    ("splits", "sizes", "said"),
    [
        pytest.param({"train": LABELLED, "test": LABELLED}, (12, 12), "", marks=pytest.mark.long),
        (
            {"train": LABELLED, "test": UNLABELLED, "validation": [1, 0, 1]},
            (12, 3),
            "test has only examples without a label; testing on validation",
        ),
        (
            {"train": LABELLED * 2, "test": UNLABELLED},
            (22, 2),
            "test has only examples without a label; testing on a tenth of train",
        ),
        pytest.param(
            {"train": LABELLED, "test": [0, 1, -1]},
            (12, 2),
            "test has some examples without a label; testing on test",
            marks=pytest.mark.long,
        ),
        ({"train": [*LABELLED, -1, -1], "test": LABELLED}, (12, 12), "train has some examples without a label"),
        pytest.param({"train": LABELLED * 2}, (22, 2), "", marks=pytest.mark.long),
    ],
)
def test_only_labelled_examples_count(source, splits, sizes, said, capsys):
    opened = source(splits)
    assert (opened.train.size, opened.test.size) == sizes
    assert opened.labels == ("cat", "café")
    out = capsys.readouterr().out
    assert said in out and (said or "without" not in out)
    for split, size in zip((opened.train, opened.test), sizes, strict=True):
        labels = [int(example["label"]) for example in split.examples(3)]
        assert len(labels) == size and set(labels) <= {0, 1}


def test_a_train_split_without_labels_is_refused(source):
    with pytest.raises(UserError, match="has no labels in its train split: choose another dataset"):
        source({"train": UNLABELLED, "test": LABELLED})


def test_the_orientation_is_the_files(source):
    examples = list(source({"train": LABELLED, "test": LABELLED}).train.examples(None))
    shapes = [decode(example["image"], example["orientation"]).shape for example in examples]
    assert sorted({tuple(shape) for shape in shapes}) == [(12, 20, 3), (20, 12, 3)]
    assert {int(example["orientation"]) for example in examples} == {1, 6}
    np.testing.assert_array_equal(sorted(int(example["label"]) for example in examples), sorted(LABELLED))
