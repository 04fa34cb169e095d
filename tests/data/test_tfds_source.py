"""TensorFlow Datasets: splits without labels are found out, and encoded photos keep their orientation."""

import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from shufflenet_tf.data import tfds_source
from shufflenet_tf.data.decode import decode
from shufflenet_tf.errors import UserError


def photo(number: int, orientation: int) -> io.BytesIO:
    stored, exif, content = Image.new("RGB", (20, 12), (9 * number, 90, 200)), Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    stored.save(content, "JPEG", exif=exif)
    content.seek(0)
    return content


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Opens a data set of the labels {split: [...]}; every second photo is to be turned."""

    def opened(splits: dict[str, list[int]]):
        class Own(tfds.core.GeneratorBasedBuilder, skip_registration=True):
            VERSION = tfds.core.Version("1.0.0")
            pkg_dir_path = type(tfds.core.tfds_path())(tmp_path)

            def _info(self):
                label = tfds.features.ClassLabel(names=["cat ", "cafe\u0301"])
                features = tfds.features.FeaturesDict({"image": tfds.features.Image(encoding_format="jpeg"), "label": label})
                return self.dataset_info_from_configs(features=features, supervised_keys=("image", "label"))

            def _split_generators(self, dl_manager):
                return {split: self._generate_examples(labels) for split, labels in splits.items()}

            def _generate_examples(self, labels):
                for number, label in enumerate(labels):
                    yield number, {"image": photo(number, 6 if number % 2 else 1), "label": label}

        builder = Own(data_dir=tmp_path / "data")
        builder.download_and_prepare()
        return tfds_source.from_builder(builder)

    return opened


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
