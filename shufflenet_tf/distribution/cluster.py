"""Which processes train together, and which of them this is: from TF_CONFIG, as launchers set it, or from SLURM's variables.

Nothing here loads TensorFlow.
"""

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from typing import Any

from shufflenet_tf.errors import UserError

_EXAMPLE = '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", "index": 0}}'
_JOBS = ("chief", "worker")  # in the order of their indices here
# SLURM assigns no ports. Jobs that share a machine get different ones, unless their numbers differ by a multiple of _RANGES.
_FIRST_PORT, _RANGE, _RANGES = 15000, 16, 1000


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The processes of a training.

    Attributes:
      workers: their addresses, host:port, the chief's first.
      index: of this process among them.
    """

    workers: tuple[str, ...]
    index: int

    @property
    def address(self) -> str:
        """The address of this process."""
        return self.workers[self.index]

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the results."""
        return self.index == 0

    def tf_config(self) -> str:
        """Returns the value of TF_CONFIG that says the same."""
        return json.dumps({"cluster": {"worker": list(self.workers)}, "task": {"type": "worker", "index": self.index}})


def from_environment(variables: Mapping[str, str] = os.environ) -> Cluster:
    """Returns the cluster that the environment describes: TF_CONFIG or else, in a SLURM step, SLURM's own variables.

    A TFJob's chief is the first worker here. Jobs that do not train, such as an evaluator, are left out.

    Raises:
      UserError: the environment describes none, or not one that can train.
    """
    if text := variables.get("TF_CONFIG", "").strip():
        return _from_tf_config(text)
    if "SLURM_PROCID" in variables and "SLURM_STEP_NODELIST" in variables:
        return _from_slurm(variables)
    raise UserError(
        "--strategy=multi_worker needs TF_CONFIG, which says where the workers are, and it is not set: start the training "
        "with srun, with a launcher that sets it, or on one machine with python -m shufflenet_tf.training.launch --workers=2."
    )


def _from_tf_config(text: str) -> Cluster:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"TF_CONFIG is not JSON ({error}): it should look like {_EXAMPLE}.") from None
    cluster, task = (config.get(key) for key in ("cluster", "task")) if isinstance(config, dict) else (None, None)
    if not isinstance(cluster, dict) or not isinstance(task, dict):
        raise UserError(f"TF_CONFIG lacks a cluster or a task: it should look like {_EXAMPLE}.")
    if cluster.get("ps"):
        raise UserError(
            "TF_CONFIG names parameter servers (ps), but --strategy=multi_worker trains without any: name workers only."
        )
    addresses = {job: _addresses(job, cluster.get(job, [])) for job in _JOBS}
    kind, index = task.get("type"), _integer(task.get("index", 0))
    if kind not in _JOBS or not addresses[kind]:
        known = " and ".join(job for job in _JOBS if addresses[job]) or "none"
        raise UserError(f"TF_CONFIG says that this is a {kind!r}, but the cluster has these jobs: {known}.")
    if index is None or not 0 <= index < len(addresses[kind]):
        count = len(addresses[kind])
        raise UserError(
            f"TF_CONFIG says that this is {kind} {task.get('index')}, but the cluster has {count} of them: "
            f"give an index from 0 to {count - 1}."
        )
    workers = addresses["chief"] + addresses["worker"]
    if twice := sorted({address for address in workers if workers.count(address) > 1}):
        raise UserError(f"TF_CONFIG names {twice[0]} twice: every worker needs an address of its own.")
    return Cluster(tuple(workers), index + (len(addresses["chief"]) if kind == "worker" else 0))


def _addresses(job: str, given: Any) -> list[str]:
    """Returns the addresses of a job: a list, or a dict by index, as TensorFlow takes them too."""
    if isinstance(given, dict):
        given = [given[key] for key in sorted(given, key=lambda key: _integer(key) or 0)]
    given = given if isinstance(given, list) else [given]
    for address in given:
        host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
        if not host or (_integer(port) or 0) not in range(1, 65536):
            raise UserError(f"TF_CONFIG has {address!r} among the addresses of {job}: give host:port, such as host1:12345.")
    return given


def _integer(text: Any) -> int | None:
    """Returns a number that may be text, as Kubernetes' templates write it."""
    return int(text) if isinstance(text, int | str) and re.fullmatch(r"\d{1,9}", str(text)) else None


def _from_slurm(variables: Mapping[str, str]) -> Cluster:
    """Returns the cluster of a SLURM step.

    TensorFlow's SlurmClusterResolver sorts the machines by name, so that n10 comes before n9, while SLURM numbers the
    processes in the order of its list; and it needs nvidia-smi. So its rules are followed, but not its order.
    """
    try:
        hosts = _hosts(variables["SLURM_STEP_NODELIST"])
        tasks = _tasks(variables.get("SLURM_STEP_TASKS_PER_NODE", f"1(x{len(hosts)})"))
        rank = int(variables["SLURM_PROCID"])
        first = _FIRST_PORT + int(variables.get("SLURM_JOB_ID", "0")) % _RANGES * _RANGE
    except ValueError as error:
        raise UserError(f"SLURM's variables can't be read ({error}): set TF_CONFIG, which comes before them.") from None
    workers = [f"{host}:{first + i}" for host, count in zip(hosts, tasks, strict=False) for i in range(count)]
    if len(hosts) != len(tasks) or rank >= len(workers):
        raise UserError(
            f"SLURM's variables contradict each other ({len(hosts)} machines, tasks {tasks}, process {rank}): start the "
            "training with srun, or set TF_CONFIG, which comes before them."
        )
    return Cluster(tuple(workers), rank)


def _hosts(text: str) -> list[str]:
    """Returns the machines of SLURM's list: "n[1-2,5],login" are n1, n2, n5 and login; zeros in front stay (n[08-10])."""
    names = []
    for part in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text):
        expanded = [""]
        for plain, ranges in re.findall(r"([^\[]+)|\[([^\]]*)\]", part):
            endings = [plain] if plain else [number for entry in ranges.split(",") for number in _numbers(entry)]
            expanded = [name + ending for name in expanded for ending in endings]
        names += expanded
    return names


def _numbers(entry: str) -> list[str]:
    first, _, last = entry.partition("-")
    return [f"{number:0{len(first)}}" for number in range(int(first), int(last or first) + 1)]


def _tasks(text: str) -> list[int]:
    """Returns the number of processes of each machine: "2(x3),1" are 2, 2, 2 and 1."""
    counts = []
    for entry in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", entry.strip())
        if not match:
            raise ValueError(f"tasks per machine {text!r}")
        counts += [int(match[1])] * int(match[2] or 1)
    return counts
