"""Workers that meet: all of them end with one sentence, or all go on."""

import concurrent.futures
import socket
import threading
import time

import pytest

from shufflenet_tf.distribution import rendezvous
from shufflenet_tf.distribution.cluster import Cluster
from shufflenet_tf.distribution.launcher import free_ports
from shufflenet_tf.errors import UserError

FLAGS = {"batch_size": 64, "network": "v2"}


def addresses(count):
    return tuple(f"localhost:{port}" for port in free_ports(count))


def meet(workers, indices, flags=None, timeout=2.0, clusters=None):
    """Has processes (here threads) with these indices meet, and returns the sentence, or nothing, of each."""

    def one(place, index):
        cluster = (clusters or {}).get(place, Cluster(workers, index))
        try:
            rendezvous.meet(cluster, (flags or {}).get(place, FLAGS), timeout)
        except UserError as error:
            return str(error)
        return ""

    with concurrent.futures.ThreadPoolExecutor(len(indices)) as pool:
        return [future.result() for future in [pool.submit(one, *pair) for pair in enumerate(indices)]]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_workers_with_the_same_flags_meet_and_leave_the_chiefs_address_free(count):
    workers = addresses(count)
    assert meet(workers, range(count)) == [""] * count
    socket.create_server(("", int(workers[0].partition(":")[2]))).close()


def test_other_flags_are_named_by_all():
    sentences = meet(addresses(3), range(3), {2: {**FLAGS, "batch_size": 32}})
    assert len({*sentences}) == 1
    assert sentences[0].startswith("Worker 2 has --batch_size=32, and the chief --batch_size=64:")


def test_another_cluster_is_named_by_all():
    workers = addresses(2)
    sentences = meet(workers, range(2), clusters={1: Cluster((workers[0], "localhost:9"), 1)})
    assert all("give all of them the same cluster" in sentence or "can't listen" in sentence for sentence in sentences)


def test_a_missing_worker_is_named_by_those_that_are_there():
    workers = addresses(3)
    sentences = meet(workers, [0, 1], timeout=1)
    assert {*sentences} == {sentences[0]}
    assert f"for worker 2 ({workers[2]})" in sentences[0]


def test_a_missing_chief_is_named():
    workers = addresses(2)
    (sentence,) = meet(workers, [1], timeout=1)
    assert f"The chief at {workers[0]} has not answered worker 1 for 1 s" in sentence


def test_an_index_that_comes_twice_is_named_by_all():
    sentences = meet(addresses(3), [0, 1, 1])
    assert {*sentences} == {"Two processes say that they are worker 1: give each its own index in TF_CONFIG."}


def test_a_worker_that_has_died_can_come_again():
    workers = addresses(3)
    host, port = workers[0].split(":")

    def dies():
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                with socket.create_connection((host, int(port))) as chief:
                    chief.sendall(b'{"index": 1, "workers": ["%s"]}\n' % b'", "'.join(map(str.encode, workers)))
                    time.sleep(0.3)
                return
            except OSError:
                time.sleep(0.05)

    thread = threading.Thread(target=dies)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        chief = pool.submit(meet, workers, [0], None, 10.0)
        thread.start()
        thread.join()
        assert meet(workers, [1, 2], timeout=10.0) == ["", ""]
        assert chief.result() == [""]


@pytest.mark.parametrize("chatter", [b"", b"GET / HTTP/1.1\r\n\r\n", b"[]\n", b'{"index": "1"}\n', b"x" * 100_000])
def test_strangers_are_ignored(chatter):
    workers = addresses(2)

    def talk():
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                with socket.create_connection(("localhost", int(workers[0].partition(":")[2]))) as chief:
                    chief.sendall(chatter)
                return
            except OSError:
                time.sleep(0.02)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        chief = pool.submit(meet, workers, [0], None, 10.0)
        pool.submit(talk).result()
        assert meet(workers, [1], timeout=10.0) == [""] == chief.result()


@pytest.mark.parametrize("index", [0, 1])
def test_an_address_in_use_is_named(index):
    workers = addresses(2)
    with socket.create_server(("", int(workers[index].partition(":")[2]))):
        (sentence,) = meet(workers, [index], timeout=1)
    assert f"Worker {index} can't listen at {workers[index]}" in sentence and "in use" in sentence
