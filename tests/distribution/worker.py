"""Trains a tiny network as one process of a cluster, or alone, and leaves its history and weights: run by test_workers.py.

  python worker.py FOLDER NAME=VALUE...

Each NAME=VALUE is a field of Settings or RunOptions, in JSON.
"""

import json
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import shufflenet_tf as st  # noqa: E402, I001
import tensorflow as tf  # noqa: E402

from splits import noisy_split  # noqa: E402

from shufflenet_tf import options  # noqa: E402
from shufflenet_tf.data.augment import Augmentation  # noqa: E402
from shufflenet_tf.data.source import Source  # noqa: E402
from shufflenet_tf.errors import UserError  # noqa: E402
from shufflenet_tf.models import v1  # noqa: E402
from shufflenet_tf.models.kernels import synchronize  # noqa: E402
from shufflenet_tf.training import parallel  # noqa: E402
from shufflenet_tf.training.fit import fit  # noqa: E402
from shufflenet_tf.training.settings import RunOptions, Settings  # noqa: E402

v1.REPEATS = (1, 1, 1)  # for speed: every process traces the network anew


def main(folder: pathlib.Path, given: dict) -> None:
    run, given = options.split(given, RunOptions, Settings)
    tf.keras.utils.set_random_seed(1)
    distribution = parallel.begin(RunOptions(**run, deterministic=True), given)
    tf.config.experimental.enable_op_determinism()
    settings = Settings(**{"batch_size": 12, "steps": 8, "steps_per_epoch": 4, "tensorboard": False} | given)
    source = Source("noise", tuple("abc"), noisy_split(50, 1), noisy_split(1, 2), validation=noisy_split(23, 3))
    (folder / f"pid{distribution.shard.index}").write_text(str(os.getpid()))
    with distribution.scope():
        model = st.create_model("shufflenet_v1_0.25x_g2", input_shape=(32, 32, 3), classes=3)
    if settings.sync_batch_norm:
        synchronize(model)
    fit(model, source, settings, Augmentation(jitter=0.2, mixup=0.2), folder, distribution)


if __name__ == "__main__":
    words = [word.split("=", 1) for word in sys.argv[2:]]
    try:
        main(pathlib.Path(sys.argv[1]), {name: json.loads(value) for name, value in words})
    except UserError as error:
        print(error, flush=True)
        sys.exit(error.status)
