"""The fault itself, in the process that it befalls."""

import contextlib
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import threading
import time

from benchmarks.faults.checks import complete_files

FAULTS = ("full", "readonly", "memory", "SIGTERM", "SIGINT", "SIGKILL")
OPERATIONS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir")  # Python's names of audited file operations


class Striker:
    """Makes the fault happen in this process at its moment, once."""

    def __init__(self, fault: str, disk: pathlib.Path, note: pathlib.Path):
        self.fault, self.disk, self.note, self.left, self.struck = fault, disk, note, -1, False

    def at(self, kind: str, moment: float) -> None:
        if kind == "time":
            timer = threading.Timer(moment, self.strike)
            timer.daemon = True
            timer.start()
        else:
            self.left = int(moment)
            sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple) -> None:
        if self.struck or event not in OPERATIONS:
            return
        if str(self.disk / "out") in os.fsdecode(arguments[0] if isinstance(arguments[0], str | bytes) else str(arguments[0])):
            self.left -= 1
            if self.left < 0:
                self.strike()

    def strike(self) -> None:
        if self.struck:
            return
        self.struck = True
        self.note.write_text(json.dumps(complete_files(self.disk / "out")))
        match self.fault:
            case "full":
                with contextlib.suppress(OSError), open(self.disk / "ballast", "wb", buffering=0) as file:
                    while True:
                        file.write(bytes(4096))
            case "readonly":
                threading.Thread(target=_turn_read_only, args=[self.disk], daemon=True).start()
                time.sleep(0.2)
            case "memory":
                pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
                resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (1 << 20),) * 2)
            case name:
                os.kill(os.getpid(), getattr(signal, name))


def _turn_read_only(disk: pathlib.Path) -> None:
    """Waits for a moment in which no file is open for writing."""
    while subprocess.run(["mount", "-o", "remount,ro", disk], capture_output=True).returncode:
        time.sleep(0.001)
