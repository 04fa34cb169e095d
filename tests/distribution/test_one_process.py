"""What a TPU and XLA ask of the training, in one process: many steps in a call, fixed shapes, compiled steps."""

import pytest
import tensorflow as tf
from splits import noisy_split

import shufflenet_tf as st
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.data.source import Source
from shufflenet_tf.distribution.strategy import Distribution
from shufflenet_tf.models import v1
from shufflenet_tf.models.kernels import LEGACY_KERAS
from shufflenet_tf.training import checkpoint
from shufflenet_tf.training.fit import fit
from shufflenet_tf.training.settings import Settings

pytestmark = [pytest.mark.both_generations, pytest.mark.long]


def train(folder, distribution=None, **given):
    settings = Settings(
        **{"batch_size": 10, "steps": 12, "steps_per_epoch": 6, "tensorboard": False, "learning_rate": 0.01} | given
    )
    source = Source("noise", tuple("abc"), noisy_split(40, 1), noisy_split(1, 2), validation=noisy_split(13, 3))
    model = st.create_model("shufflenet_v1_0.25x_g2", input_shape=(32, 32, 3), classes=3)
    fit(model, source, settings, Augmentation(), folder, distribution)
    return [{k: v for k, v in row.items() if k != "seconds"} for row in checkpoint.read_progress(folder).history]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(v1, "REPEATS", (1, 1, 1))
    tf.keras.utils.set_random_seed(1)


@pytest.fixture
def plain(tmp_path):
    history = train(tmp_path / "plain")
    tf.keras.utils.set_random_seed(1)
    return history


class ManySteps(Distribution):
    """One device that, like a TPU, takes many steps in a call and wants batches of one shape."""

    is_tpu = True

    def steps_at_once(self, steps_per_epoch):
        return 4


@pytest.mark.skipif(not LEGACY_KERAS, reason="TPUs train under tf_keras; Keras 3 goes beyond the end of an epoch")
def test_many_steps_in_a_call_are_counted_and_saved(plain, tmp_path, monkeypatch):
    saved = []
    save = checkpoint.save

    def note(state, progress, folder):
        saved.append(progress.step)
        save(state, progress, folder)

    monkeypatch.setattr(checkpoint, "save", note)
    history = train(tmp_path / "many", ManySteps(), checkpoint_steps=3)
    assert saved == [4, 6, 10, 12]  # at the end of the call in which a checkpoint is due, and at the end of each epoch
    for row, expected in zip(history, plain, strict=True):
        assert row == pytest.approx(expected, rel=1e-3)


def test_compiled_steps_have_the_curve_of_others(plain, tmp_path):
    for row, expected in zip(train(tmp_path / "xla", xla=True), plain, strict=True):
        assert row == pytest.approx(expected, rel=2e-2)
