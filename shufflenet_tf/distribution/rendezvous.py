"""The workers of a cluster meet before TensorFlow starts: all are there, once each, and were given the same flags.

TensorFlow waits for a missing worker without a word, and workers with different flags train until their tensors don't fit.
Here the chief listens at its own address, which TensorFlow takes over afterwards. Each worker sends one line of JSON, and gets
one back: that all is well, or the sentence that all of them end with.
"""

import contextlib
import errno
import json
import queue
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

from shufflenet_tf.distribution.cluster import Cluster
from shufflenet_tf.errors import UserError

_MOST = 1 << 16  # bytes of a message
_PATIENCE = 5  # seconds for a line of a worker that has connected
_PAUSE = 0.2  # seconds between two attempts to reach the chief
_FAREWELL = 2  # seconds for which the chief tells late workers what is wrong
_LAST_WORDS = 10  # seconds for which a worker waits for the chief's answer after its own time is over


def meet(cluster: Cluster, flags: Mapping[str, Any], timeout: float) -> None:
    """Returns when all workers of `cluster` are there and have the same `flags`.

    Args:
      cluster: of this process.
      flags: by name, of types that JSON knows: what must be equal on all workers.
      timeout: seconds to wait for the others.

    Raises:
      UserError: an address is in use, a worker is missing, came twice, or has another cluster or other flags. The chief tells
        all workers that it can reach, and each ends with the same sentence.
    """
    flags = json.loads(json.dumps(flags))
    if cluster.is_chief:
        _gather(cluster, flags, timeout)
    else:
        with _listener(cluster):
            pass
        _report(cluster, flags, timeout)


def _listener(cluster: Cluster) -> socket.socket:
    """Returns a socket that listens at this process's port, on all of the machine's addresses.

    Raises:
      UserError: the port can't be taken.
    """
    port = int(cluster.address.rpartition(":")[2])
    try:
        return socket.create_server(("", port), backlog=len(cluster.workers))
    except OSError as error:
        why = "in use by another process" if error.errno == errno.EADDRINUSE else f"not free ({error.strerror})"
        raise UserError(
            f"Worker {cluster.index} can't listen at {cluster.address}, as port {port} is {why}: end that process, or give "
            "another port in TF_CONFIG."
        ) from None


def _gather(cluster: Cluster, flags: dict[str, Any], timeout: float) -> None:
    arrivals: queue.Queue[tuple[socket.socket, dict[str, Any]]] = queue.Queue()
    deadline = time.monotonic() + timeout
    done = threading.Event()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(_listener(cluster))
        accepting = threading.Thread(target=_accept, args=(server, arrivals, done), daemon=True)
        accepting.start()
        stack.callback(accepting.join)  # before the socket is closed
        stack.callback(done.set)
        connections, waiting, problem = [], {}, ""
        while len(waiting) < len(cluster.workers) - 1:
            try:
                connection, message = arrivals.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                problem = problem or _missing(cluster, waiting, timeout)
                break
            connections.append(stack.enter_context(connection))
            problem = problem or _problem(cluster, flags, message, waiting)
            if problem:  # those who come soon are told too
                deadline = min(deadline, time.monotonic() + _FAREWELL)
            waiting[message["index"]] = connection
        for connection in connections:
            with contextlib.suppress(OSError):  # that worker has ended; TensorFlow will miss it
                connection.sendall(json.dumps({"problem": problem}).encode() + b"\n")
    if problem:
        raise UserError(problem)


def _has_left(connection: socket.socket) -> bool:
    """Whether a worker that waits for an answer has ended meanwhile, and so may have been started anew."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(_PATIENCE)


def _accept(server: socket.socket, arrivals: queue.Queue, done: threading.Event) -> None:
    """Puts every worker that reports into `arrivals`, until it is `done`."""

    def listen(connection: socket.socket) -> None:
        connection.settimeout(_PATIENCE)
        message = _read(connection)
        if isinstance(message.get("workers"), list) and type(message.get("index")) is int:
            arrivals.put((connection, message))
        else:  # a stranger, such as a port scanner
            connection.close()

    # A socket that another thread waits for would stay open after `close`.
    server.settimeout(_PAUSE)
    while not done.is_set():
        with contextlib.suppress(TimeoutError):
            threading.Thread(target=listen, args=(server.accept()[0],), daemon=True).start()


def _read(connection: socket.socket) -> dict[str, Any]:
    """Returns the line of JSON that the other side sends; {}: it sends something else, or nothing."""
    content = b""
    try:
        while not content.endswith(b"\n") and len(content) <= _MOST:
            piece = connection.recv(4096)
            if not piece:
                break
            content += piece
        message = json.loads(content)
    except (OSError, ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def _problem(cluster: Cluster, flags: dict[str, Any], message: dict[str, Any], waiting: Mapping[int, socket.socket]) -> str:
    """Returns why a worker that has reported can't take part, or nothing."""
    index, theirs = message["index"], message.get("flags")
    if message["workers"] != list(cluster.workers):
        return (
            f"Worker {index} was given the workers {', '.join(map(str, message['workers']))}, and the chief "
            f"{', '.join(cluster.workers)}: give all of them the same cluster in TF_CONFIG."
        )
    if index == 0 or (index in waiting and not _has_left(waiting[index])):
        return f"Two processes say that they are worker {index}: give each its own index in TF_CONFIG."
    if isinstance(theirs, dict) and theirs != flags:
        name = sorted(key for key in {*theirs, *flags} if theirs.get(key) != flags.get(key))[0]
        return (
            f"Worker {index} has --{name}={theirs.get(name)}, and the chief --{name}={flags.get(name)}: give all workers the "
            "same flags."
        )
    return ""


def _missing(cluster: Cluster, waiting: Mapping[int, socket.socket], timeout: float) -> str:
    missing = [f"{i} ({address})" for i, address in enumerate(cluster.workers) if i and i not in waiting]
    names = f"worker{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
    return (
        f"The chief has waited {timeout:g} s for {names}: see whether it runs and reaches {cluster.workers[0]}, or give a "
        "larger --cluster_timeout."
    )


def _report(cluster: Cluster, flags: dict[str, Any], timeout: float) -> None:
    host, _, port = cluster.workers[0].rpartition(":")
    deadline = time.monotonic() + timeout
    text = json.dumps({"index": cluster.index, "workers": cluster.workers, "flags": flags}).encode() + b"\n"
    reason = ""
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(
                (host.strip("[]"), int(port)), timeout=max(0.1, deadline - time.monotonic())
            ) as chief:
                chief.sendall(text)
                chief.settimeout(max(0.1, deadline - time.monotonic()) + _LAST_WORDS)
                answer = _read(chief)
        except OSError as error:
            answer, reason = {}, f" ({error.strerror or error})"
        if "problem" in answer:
            if answer["problem"]:
                raise UserError(str(answer["problem"]))
            return
        time.sleep(_PAUSE)  # it doesn't listen yet, or what listens there is what is left of an earlier run
    raise UserError(
        f"The chief at {cluster.workers[0]} has not answered worker {cluster.index} for {timeout:g} s{reason}: see whether it "
        "runs there, or give a larger --cluster_timeout."
    )
