"""Where a training runs, behind one interface: one device, all GPUs of a machine, many workers, or a TPU."""

import contextlib
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from shufflenet_tf.cli import STATUS_RESTART
from shufflenet_tf.data.source import Shard
from shufflenet_tf.distribution import cluster as clusters
from shufflenet_tf.distribution import keras_choice, rendezvous
from shufflenet_tf.errors import UserError
from shufflenet_tf.tensorflow_errors import reason

# What TensorFlow raises in a worker whose peer has ended or was killed.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.InternalError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
)
_TPU_STEPS = 50


class LostWorker(UserError):
    """Another process of the cluster has ended, and this one can't go on without it."""

    status = STATUS_RESTART


class Distribution:
    """A strategy of TensorFlow, and this process's part in it.

    All processes of a cluster have to call its methods in the same order, as most of them wait for the others.

    Args:
      strategy: of TensorFlow; None: one device.
      cluster: the workers, where there are several processes.
    """

    def __init__(self, strategy: tf.distribute.Strategy | None = None, cluster: clusters.Cluster | None = None):
        self.strategy, self.cluster = strategy, cluster
        self._reduce = tf.function(self._sum, reduce_retracing=True)
        self._sums: dict[tuple[int, ...], Callable[[], list[tf.Tensor]]] = {}

    @property
    def is_chief(self) -> bool:
        """Whether this process writes files."""
        return self.cluster is None or self.cluster.is_chief

    @property
    def is_tpu(self) -> bool:
        """Whether all shapes have to be known when a step is compiled."""
        return isinstance(self.strategy, tf.distribute.TPUStrategy)

    @property
    def shard(self) -> Shard:
        """The part of each batch that this process reads."""
        return Shard(self.cluster.index, len(self.cluster.workers)) if self.cluster else Shard()

    @property
    def replicas(self) -> int:
        """The number of devices, each of which computes the same number of images of a batch."""
        return self.strategy.num_replicas_in_sync if self.strategy else 1

    def steps_at_once(self, steps_per_epoch: int) -> int:
        """Returns how many steps TensorFlow runs in one call; on a TPU, the way back to Python takes as long as a step."""
        return min(_TPU_STEPS, steps_per_epoch) if self.is_tpu else 1

    def scope(self) -> contextlib.AbstractContextManager:
        """Returns the context in which variables are created."""
        return self.strategy.scope() if self.strategy else contextlib.nullcontext()

    def batches(self, make: Callable[[Shard], tf.data.Dataset]) -> Any:
        """Returns what Keras's `fit` reads, given a function that makes the batches of a shard."""
        if self.cluster is None:
            return make(self.shard)
        local = self.replicas // self.shard.count

        def read(context: tf.distribute.InputContext) -> tf.data.Dataset:
            batches = make(self.shard)
            # Devices take one element after the other.
            return batches if local == 1 else batches.flat_map(lambda *parts: _divided(parts, local))

        return self.strategy.distribute_datasets_from_function(read)

    def sum(self, values: np.ndarray | int) -> np.ndarray:
        """Returns the sum of an array over all processes; all of them wait for it."""
        values = np.asarray(values)
        return values if self.cluster is None else self._reduce(tf.constant(values)).numpy()

    def _sum(self, values: tf.Tensor) -> tf.Tensor:
        def add() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            # A process counts once, however many devices it has.
            counts = tf.cast(context.replica_id_in_sync_group % (self.replicas // self.shard.count) == 0, values.dtype)
            return context.all_reduce(tf.distribute.ReduceOp.SUM, counts * values)

        return self.strategy.experimental_local_results(self.strategy.run(add))[0]

    def any(self, condition: bool) -> bool:
        """Returns whether `condition` holds in any process; all of them wait for it."""
        return bool(self.sum(int(condition)) > 0)

    @contextlib.contextmanager
    def watched(self):
        """Turns TensorFlow's errors about other workers into a LostWorker within the block."""
        try:
            yield
        except _LOST as error:
            if self.cluster is None:
                raise
            raise LostWorker(
                f"Worker {self.cluster.index} has lost another one ({reason(error)[:200].rstrip('.')}): the same command on "
                "all of them goes on from the last checkpoint."
            ) from error

    def wait(self) -> None:
        """Returns when all processes have come here."""
        self.sum(0)

    def finish(self) -> None:
        """Returns when all processes have come here, so that none has gone while another still waits for its last message."""
        with contextlib.suppress(*_LOST):  # those that have gone came here first
            self.wait()

    @contextlib.contextmanager
    def chief_first(self):
        """Has the chief run the block before the others do, who then find the files that it has made."""
        if not self.is_chief:
            self.wait()
        yield
        if self.is_chief:
            self.wait()

    def check_equal(self, number: int, what: str) -> None:
        """Raises a UserError in all processes if the `number` of `what` is not the same in all of them."""
        if self.cluster is None:
            return
        mine = np.zeros(self.shard.count, np.int64)
        mine[self.shard.index] = number
        numbers = [int(value) for value in self.sum(mine)]
        for worker, theirs in enumerate(numbers):
            if theirs != numbers[0]:
                raise UserError(
                    f"Worker {worker} has {theirs:,} {what}, and the chief {numbers[0]:,}: all workers need the same dataset."
                )

    def read(self, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Returns the values of variables by name.

        What each device keeps for itself, such as the moving statistics of a normalization, is averaged, and all of them go on
        with the average (of running sums, with equal shares): so a run that continues from the values has the same numbers as
        one that never stopped.
        """
        if self.cluster is None:
            return {name: np.asarray(variable) for name, variable in variables.items()}
        local = [variable for variable in variables.values() if _is_local(variable)]
        values = iter(self._synchronize(local) if local else [])
        return {
            name: np.asarray(next(values) if _is_local(variable) else self.strategy.experimental_local_results(variable)[0])
            for name, variable in variables.items()
        }

    def _synchronize(self, variables: list[Any]) -> list[tf.Tensor]:
        """Averages variables that each device has for itself (adds them up, where they are sums) and returns the results."""
        # Tracing takes seconds, and a checkpoint would have to wait for it.
        totals = self._sums.setdefault(tuple(map(id, variables)), self._sum_of(variables))
        results = []
        for variable, total in zip(variables, totals(), strict=True):
            averaged = variable.aggregation == tf.VariableAggregation.MEAN
            results.append(total / self.replicas if averaged else total)
            # Each device gets the average, or its share of a sum; a value to return would be another message.
            variable.assign(results[-1], read_value=False)
        return results

    def _sum_of(self, variables: list[Any]) -> Callable[[], list[tf.Tensor]]:
        """Returns a function, traced once, of the sums of variables over all devices."""

        def reduce() -> list[tf.Tensor]:
            context = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.SUM, [tf.identity(variable) for variable in variables])

        @tf.function
        def totals() -> list[tf.Tensor]:
            return [self.strategy.experimental_local_results(value)[0] for value in self.strategy.run(reduce)]

        return totals

    def from_chief(self, arrays: Mapping[str, np.ndarray] | None, shapes: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Returns the chief's arrays in all processes, to the last bit, without a folder that they share.

        Args:
          arrays: the chief's, by name.
          shapes: of these arrays, by the same names: variables or arrays.
        """
        if self.cluster is None:
            return dict(arrays)
        sizes = {name: int(np.prod(tuple(array.shape), dtype=np.int64)) for name, array in shapes.items()}
        # As integers: sums with the others' zeros keep all bits.
        words = np.zeros(2 * sum(sizes.values()), np.int32)
        if self.is_chief:
            words[:] = np.concatenate([np.asarray(arrays[name], np.float64).ravel() for name in sizes]).view(np.int32)
        parts = np.split(self.sum(words).view(np.float64), np.cumsum(list(sizes.values()))[:-1])
        dtypes = {name: tf.as_dtype(array.dtype).as_numpy_dtype for name, array in shapes.items()}
        return {
            name: part.reshape(tuple(shapes[name].shape)).astype(dtypes[name]) for name, part in zip(sizes, parts, strict=True)
        }


def _is_local(variable: Any) -> bool:
    """Whether each device has its own value of a variable, which is averaged only when it is read."""
    return getattr(variable, "synchronization", None) == tf.VariableSynchronization.ON_READ


def _divided(parts: tuple[tf.Tensor, ...], count: int) -> tf.data.Dataset:
    """Returns a batch as `count` smaller ones of equal size."""
    return tf.data.Dataset.from_tensor_slices(tuple(tf.reshape(p, (count, -1, *p.shape[1:])) for p in parts))


def open_distribution(
    kind: str, flags: Mapping[str, Any], timeout: float = 300.0, tpu: str = "local", deterministic: bool = False
) -> Distribution:
    """Returns a distribution; that of a cluster is taken from the environment, see `cluster.from_environment`.

    It has to be called before TensorFlow computes anything.

    Args:
      kind: none, mirrored, multi_worker or tpu.
      flags: by name; all workers have to have the same.
      timeout: seconds for which workers wait for each other.
      tpu: name of the TPU, or "local".
      deterministic: whether equal runs have to give equal bits.

    Raises:
      UserError: the kind needs tf_keras, the environment describes no cluster, the workers don't meet, or there is no TPU.
    """
    if kind == "none":
        return Distribution()
    if kind == "mirrored":
        return Distribution(tf.distribute.MirroredStrategy())
    keras_choice.check(kind)
    return _on_tpu(tpu) if kind == "tpu" else _on_workers(flags, timeout, deterministic)


def _on_workers(flags: Mapping[str, Any], timeout: float, deterministic: bool) -> Distribution:
    cluster = clusters.from_environment()
    print(
        f"Worker {cluster.index} of {len(cluster.workers)} at {cluster.address}"
        f"{', the chief, which writes the results' if cluster.is_chief else ''}",
        flush=True,
    )
    rendezvous.meet(cluster, {**flags, "tensorflow": tf.__version__}, timeout)
    os.environ["TF_CONFIG"] = cluster.tf_config()
    if deterministic:  # has to be set before the first operation, and the strategy makes one
        tf.config.experimental.enable_op_determinism()
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except (RuntimeError, tf.errors.OpError) as error:
        raise UserError(f"TensorFlow's workers can't be connected at {cluster.address}: {reason(error)}") from None
    # All have equally many batches, and none is empty: they need not ask each other before each one, nor does Keras have to
    # compute each normalization in two branches.
    strategy.extended.experimental_enable_get_next_as_optional = False
    return Distribution(strategy, cluster)


def _on_tpu(name: str) -> Distribution:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        if name != "local":
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return Distribution(tf.distribute.TPUStrategy(resolver))
    except (ValueError, RuntimeError, OSError, KeyError, tf.errors.OpError) as error:
        why = " ".join(str(error).split()).split(". ")[0][:200]
        raise UserError(
            f"There is no TPU {name!r} ({why}): give its name with --tpu=NAME or, on a TPU virtual machine, --tpu=local."
        ) from None
