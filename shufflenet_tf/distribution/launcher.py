"""Starts the processes of a cluster on this machine, shows what they print, and ends or restarts all of them together."""

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

from shufflenet_tf.cli import STATUS_RESTART
from shufflenet_tf.distribution.cluster import Cluster

_GRACE = 60  # seconds for a checkpoint after SIGTERM
_ORPHANED = 10  # seconds for workers whose peer is lost: they wait for it in TensorFlow, and can't do much
_PAUSE = 0.1


@dataclasses.dataclass
class Launcher:
    """A cluster on this machine.

    Attributes:
      command: of each worker; they differ by TF_CONFIG.
      workers: their number.
      restarts: how often all are started again after one was lost, that is, killed or ended with status 75.
      threads: of TensorFlow in each worker; 0: the machine's processors, divided.
      say: called with each line.
    """

    command: Sequence[str]
    workers: int
    restarts: int = 0
    threads: int = 0
    say: Callable[[str], None] = lambda line: print(line, flush=True)

    def __post_init__(self):
        self._asked = False

    def run(self) -> int:
        """Returns 0 when all workers have, else the status of the first that ended badly."""
        handlers = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            for restart in range(self.restarts + 1):
                status = self._run_once()
                if status == 0 or self._asked or (status > 0 and status != STATUS_RESTART) or restart == self.restarts:
                    break
                self.say(f"Restart {restart + 1} of {self.restarts}: all workers go on from the last checkpoint.")
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return 128 - status if status < 0 else status

    def _ask(self, number: int, frame: object) -> None:
        self._asked = True

    def _run_once(self) -> int:
        addresses = tuple(f"localhost:{port}" for port in free_ports(self.workers))
        processes = [self._start(Cluster(addresses, index)) for index in range(self.workers)]
        readers = [threading.Thread(target=self._show, args=pair, daemon=True) for pair in enumerate(processes)]
        for reader in readers:
            reader.start()
        try:
            status = self._watch(processes)
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
                process.wait()
        for reader in readers:
            reader.join(_ORPHANED)
        return status

    def _watch(self, processes: list[subprocess.Popen]) -> int:
        """Returns when all processes have ended: by themselves, asked by a signal, or after one of them ended badly."""
        told, patience = False, float("inf")
        first = 0
        while (running := [p for p in processes if p.poll() is None]) and time.monotonic() < patience:
            lost = next((i for i, p in enumerate(processes) if p.poll() not in (None, 0)), None)
            if lost is not None and not first:
                first = processes[lost].returncode
                self.say(f"Worker {lost} {_how(first)}{': the others are ended too.' if len(running) else '.'}")
            if not told and (self._asked or lost is not None):
                told, patience = True, time.monotonic() + (_ORPHANED if lost is not None else _GRACE)
                for process in running:
                    process.terminate()
            time.sleep(_PAUSE)
        return first or next((p.returncode for p in processes if p.poll()), 0)

    def _start(self, cluster: Cluster) -> subprocess.Popen:
        threads = str(self.threads or max(1, (os.cpu_count() or 1) // self.workers))
        variables = {"TF_CONFIG": cluster.tf_config(), "TF_USE_LEGACY_KERAS": "1", "PYTHONUNBUFFERED": "1"}
        variables |= {name: threads for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS")}
        return subprocess.Popen(
            self.command,
            env=os.environ | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on in order
        )

    def _show(self, index: int, process: subprocess.Popen) -> None:
        for line in process.stdout:
            self.say(f"[{index}] {line.decode(errors='backslashreplace').rstrip()}")


def _how(status: int) -> str:
    if status == STATUS_RESTART:
        return "asks to be started again"
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def free_ports(count: int) -> list[int]:
    """Returns ports of this machine that nobody listens at."""
    sockets = [socket.create_server(("", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


def training_command(flags: Sequence[str]) -> list[str]:
    """Returns the command of a worker that trains with these flags of train_main.py."""
    return [sys.executable, "-m", "train_main", *flags, "--strategy=multi_worker"]
