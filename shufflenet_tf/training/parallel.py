"""A run on several devices or workers: opened before anything else, and checked when the run is settled."""

from collections.abc import Mapping
from typing import Any

from shufflenet_tf.distribution.strategy import Distribution, open_distribution
from shufflenet_tf.errors import UserError
from shufflenet_tf.training.plan import Plan
from shufflenet_tf.training.settings import RunOptions

_OWN = ("cache", "data_dir", "output", "overwrite", "tensorboard", "cluster_timeout")  # may differ between workers


def begin(run: RunOptions, given: Mapping[str, Any]) -> Distribution:
    """Returns the distribution that `run` asks for; all workers have to be given the same options.

    Raises:
      UserError: see `open_distribution`.
    """
    flags = {name: value for name, value in given.items() if name not in _OWN}
    return open_distribution(run.strategy, flags, run.cluster_timeout, run.tpu, run.deterministic)


def check(distribution: Distribution, plan: Plan) -> None:
    """Checks that a run can be distributed, and that all workers see the same images.

    Raises:
      UserError: an option can't go with the strategy, or a worker has other images; all workers end with the same sentence.
    """
    settings, replicas = plan.settings, distribution.replicas
    if settings.batch_size % replicas:
        near = max(1, settings.batch_size // replicas) * replicas
        raise UserError(
            f"--batch_size={settings.batch_size} can't be divided among {replicas} devices: give a multiple of {replicas}, "
            f"such as {near}."
        )
    if distribution.is_tpu and settings.first_size < 1:
        raise UserError("--first_size can't go with --strategy=tpu, which compiles a step for one size: leave it out.")
    if distribution.cluster is None:
        return
    for name, given, why in (
        ("minutes", settings.minutes, "the workers' clocks differ: give --epochs or --steps"),
        ("folds", plan.run.folds, "it trains many models: give --strategy=none"),
        ("classifier_first", settings.classifier_first, "it is made for one machine: leave it out, or give --strategy=none"),
    ):
        if given:
            raise UserError(f"--{name} can't go with --strategy=multi_worker, as {why}.")
    source = plan.source
    distribution.check_equal(source.train.size, "training images")
    distribution.check_equal(source.validation.size if source.validation else 0, "validation images")
    distribution.check_equal(len(source.labels), "classes")
