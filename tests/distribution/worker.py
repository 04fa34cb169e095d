"""Trains a tiny network as one process of a cluster, or alone, and leaves its history and weights: run by test_workers.py.

  python worker.py FOLDER NAME=VALUE...

Each NAME=VALUE is a field of Settings, or strategy=KIND, replace_workers=1 (see test_workers.py).
"""

import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import shufflenet_tf as st  # noqa: E402, I001
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from shufflenet_tf import options  # noqa: E402
from shufflenet_tf.data.augment import Augmentation  # noqa: E402
from shufflenet_tf.data.source import Source  # noqa: E402
from shufflenet_tf.distribution.strategy import open_distribution  # noqa: E402
from shufflenet_tf.errors import UserError  # noqa: E402
from shufflenet_tf.models import v1  # noqa: E402
from shufflenet_tf.models.kernels import synchronize  # noqa: E402
from shufflenet_tf.training.fit import fit  # noqa: E402
from shufflenet_tf.training.settings import RunOptions, Settings  # noqa: E402
from shufflenet_tf.weights import canonical  # noqa: E402

CLASSES = 4
v1.REPEATS = (1, 1, 1)  # for speed: every process traces the network anew


def main(folder: pathlib.Path, given: dict) -> None:
    from images import split  # in this folder

    strategy = given.pop("strategy", "none")
    run = RunOptions(strategy=strategy, cluster_timeout=given.pop("cluster_timeout", 60.0), deterministic=True)
    tf.keras.utils.set_random_seed(1)
    distribution = open_distribution(run, {"batch_size": given.get("batch_size")})
    tf.config.experimental.enable_op_determinism()
    (given,) = options.split(given, Settings)
    settings = Settings(**{"batch_size": 12, "steps": 8, "steps_per_epoch": 4, "tensorboard": False} | given)
    source = Source("drawn", tuple(map(str, range(CLASSES))), split(50, 1), split(1, 2), validation=split(23, 3))
    with distribution.scope():
        model = st.create_model("shufflenet_v1_0.25x_g2", input_shape=(32, 32, 3), classes=CLASSES)
    if settings.sync_batch_norm:
        synchronize(model)
    progress = fit(model, source, settings, Augmentation(jitter=0.2), folder, distribution)
    arrays = distribution.read(canonical.named_variables(model))
    index = distribution.shard.index
    np.savez(folder / f"weights{index}.npz", **arrays)
    (folder / f"history{index}.json").write_text(json.dumps(progress.history))


if __name__ == "__main__":
    words = [word.split("=", 1) for word in sys.argv[2:]]
    try:
        main(pathlib.Path(sys.argv[1]), {name: json.loads(value) for name, value in words})
    except UserError as error:
        print(error, flush=True)
        sys.exit(error.status)
