"""tf.data service: other processes and machines read, decode and augment the training images.

Start one dispatcher and as many workers as you like, on machines that see the dataset under the same paths:
  python -m shufflenet_tf.data.service --port=5050
  python -m shufflenet_tf.data.service --port=5051 --dispatcher=grpc://HOST:5050

and give the dispatcher to the training:
  python train_main.py --data_service=grpc://HOST:5050 --dataset=folder:PATH

The epochs are divided into units, and each unit goes to one worker: every image is read once an epoch. The order of the batches
depends on who is faster. If a worker is lost, so is the rest of its units. Dispatcher and workers need no protection from each
other, but anyone who reaches their ports can use them: keep them in a private network.
"""

import socket
import sys
import threading
import time
from collections.abc import Sequence
from typing import NoReturn

import tensorflow as tf
from absl import flags

from shufflenet_tf import cli
from shufflenet_tf.errors import UserError

UNITS = 12  # of an epoch: workers that can work at it at the same time; the parts of large datasets are multiples of it
_CONNECT_SECONDS, _ANSWER_SECONDS = 10, 60


def distribute(batches: tf.data.Dataset, address: str) -> tf.data.Dataset:
    """Returns the same elements, made by the workers of a service, in any order."""
    service = tf.data.experimental.service
    # Floats hardly shrink, so that packing them would only cost time.
    return batches.apply(service.distribute(service.ShardingPolicy.DYNAMIC, address, compression=None))


def check(address: str) -> None:
    """Makes sure that a dispatcher with a worker answers, as TensorFlow would wait for one forever.

    Raises:
      UserError: it doesn't, or `address` is not grpc://HOST:PORT.
    """
    host, port = parse(address)
    start = "start one with python -m shufflenet_tf.data.service, or leave --data_service out."
    try:
        socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        reason = "it does not answer" if isinstance(error, TimeoutError) else error.strerror or error
        raise UserError(f"There is no tf.data service at {address} ({reason}): {start}") from None
    outcome: list[Exception | None] = []

    def ask() -> None:
        try:
            # The first element is made by a worker.
            next(iter(distribute(tf.data.Dataset.range(1), address)))
            outcome.append(None)
        except (tf.errors.OpError, StopIteration) as error:
            outcome.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_ANSWER_SECONDS)
    if not outcome:
        raise UserError(
            f"The tf.data service at {address} accepts connections but gives no data within {_ANSWER_SECONDS} seconds: "
            "start a worker with python -m shufflenet_tf.data.service --dispatcher=..., or check the address."
        )
    if outcome[0] is not None:
        sentence = str(outcome[0]).strip().splitlines()[0][:200]
        raise UserError(f"The tf.data service at {address} can't be used ({sentence}): {start}")


def parse(address: str) -> tuple[str, int]:
    """Returns host and port of grpc://HOST:PORT.

    Raises:
      UserError: it has another form.
    """
    scheme, _, place = address.partition("://")
    host, _, port = place.rpartition(":")
    if scheme != "grpc" or not host or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise UserError(f"The address {address!r} of a tf.data service has another form than grpc://HOST:PORT: correct it.")
    return host.strip("[]"), int(port)


FLAGS = cli.flag_values()
flags.DEFINE_integer("port", None, "Port to listen on.", 1, (1 << 16) - 1, flag_values=FLAGS)
flags.DEFINE_string("dispatcher", None, "Be a worker of the dispatcher at grpc://HOST:PORT.", flag_values=FLAGS)
flags.DEFINE_string("host", None, "Worker: name by which the others reach this machine; default: its own.", flag_values=FLAGS)


def main(arguments: Sequence[str]) -> None:
    """Serves until it is stopped."""
    cli.refuse_arguments(arguments)
    if FLAGS.port is None:
        raise UserError("No port was given: say which one to listen on, such as --port=5050.")
    try:  # TensorFlow's server would say less
        with socket.create_server(("", FLAGS.port)):
            pass
    except OSError as error:
        raise UserError(f"Port {FLAGS.port} can't be used ({error.strerror}): give another --port.") from None
    service = tf.data.experimental.service
    host = FLAGS.host or socket.gethostname()
    if not FLAGS.dispatcher:
        server = service.DispatchServer(service.DispatcherConfig(port=FLAGS.port))
        print(f"Dispatcher: workers and trainings connect to grpc://{host}:{FLAGS.port}; Ctrl-C ends it.", flush=True)
        _serve(server)
    place = parse(FLAGS.dispatcher)
    try:
        socket.create_connection(place, timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise UserError(f"No dispatcher answers at {FLAGS.dispatcher} ({error.strerror or error}): start it first.") from None
    address = FLAGS.dispatcher.partition("://")[2]
    worker = service.WorkerServer(
        service.WorkerConfig(dispatcher_address=address, worker_address=f"{host}:{FLAGS.port}", port=FLAGS.port)
    )
    print(f"Worker {host}:{FLAGS.port} of {FLAGS.dispatcher}; Ctrl-C ends it.", flush=True)
    _serve(worker)


def _serve(server: object) -> NoReturn:
    """Keeps a server until a signal ends it, which the server's own `join` doesn't notice."""
    while server:
        time.sleep(3600)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("data.service", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
