"""tf.data service: each image once an epoch, with its own augmentation; what can't be done is said before it hangs."""

import itertools
import socket

import pytest
import tensorflow as tf
from photos import write_photos
from PIL import Image
from splits import tfds_builder

from shufflenet_tf.data import open_source, pipeline, record_parts, service, tfds_source
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.data.source import ALONE, Shard
from shufflenet_tf.errors import UserError
from shufflenet_tf.preprocessing import Preprocessing
from shufflenet_tf.training.settings import RunOptions

PLAIN = Augmentation(min_area=1, jitter=0, lighting=0, flip=False)


@pytest.fixture(scope="module")
def address():
    """A dispatcher with two workers, in this process."""
    there = tf.data.experimental.service
    dispatcher = there.DispatchServer()
    workers = [
        there.WorkerServer(there.WorkerConfig(dispatcher_address=dispatcher.target.partition("://")[2])) for _ in range(2)
    ]
    yield dispatcher.target
    for server in (*workers, dispatcher):  # without it, they wait minutes for each other
        server._stop()


def images(split, steps, augmentation=PLAIN, batch_size=4, start=0, shard=ALONE):
    """The images of some batches, as bytes."""
    how = (split, Preprocessing(), augmentation, (32, 32), batch_size, 3, 3, start, None, shard)
    batches = itertools.islice(pipeline.training_batches(*how).as_numpy_iterator(), steps)
    return [(image.round(3).tobytes(), int(label.argmax())) for batch in batches for image, label in zip(*batch, strict=True)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"), 4)


def test_every_image_once_an_epoch(photos, address):
    here, there = (open_source(f"folder:{photos}", service=where).train for where in (None, address))
    assert there.service == address and here.service is None
    expected = sorted(images(here, 3))
    # A worker may begin another epoch while the other one is at the first.
    seen = images(there, 30)
    counts = [seen.count(image) for image in expected]
    assert set(seen) == set(expected) and min(counts) >= 7 and max(counts) <= 13


@pytest.mark.parametrize("kind", ["small", "parts"])
def test_records(tmp_path, address, monkeypatch, kind):
    if kind == "parts":
        monkeypatch.setattr(tfds_source, "_MEMORY", 0)
        monkeypatch.setattr(record_parts, "_FILES_EACH", 1)
    builder = tfds_builder(tmp_path / "tfds", {"train": [0, 1] * 6, "test": [0, 1] * 4}, files=4)
    here, there = (tfds_source.from_builder(builder, service=where).train for where in (None, address))
    assert set(images(there, 9)) == set(images(here, 3))


def test_units_cover_an_epoch_and_what_is_left_of_one(photos, address):
    split = open_source(f"folder:{photos}", service=address).train
    for start, count in ((0, 1), (8, 1), (8, 2)):
        for index in range(count):
            stream = pipeline._in_units(split, 3, start, Shard(index, count)).as_numpy_iterator()
            expected = [number for number in range(start, 24) if number % count == index]
            seen = [int(number) for number, _ in itertools.islice(stream, len(expected))]
            assert sorted(seen) == expected


def test_an_image_is_augmented_as_without_a_service(photos, address):
    augmentation = Augmentation(min_area=0.3, jitter=0, lighting=0)
    here, there = (open_source(f"folder:{photos}", service=where).train for where in (None, address))
    first = set(images(here, 9, augmentation))  # three epochs
    assert len(set(images(there, 3, augmentation)) & first) >= 6


def test_colours_differ_between_batches(photos, address):
    split = open_source(f"folder:{photos}", service=address).train
    seen = images(split, 9, Augmentation(min_area=1))
    assert len(set(seen)) == len(seen) == 36


def test_what_a_service_cannot_do(tmp_path, photos, address):
    with pytest.raises(UserError, match="--deterministic can't be had with --data_service"):
        RunOptions(deterministic=True, data_service=address)
    split = open_source(f"folder:{photos}", service=address).train
    how = (Preprocessing(), Augmentation(rand_augment=5), (32, 32), 4, 3, 0)
    with pytest.raises(UserError, match="makes no batches with --rand_augment"):
        pipeline.training_batches(split, *how)
    other = write_photos(tmp_path / "other", 4)
    for label in ("red", "blue"):
        Image.new("RGB", (40, 40)).save(other / "train" / label / "x.webp")
    with pytest.raises(UserError, match=r"can't read 2 of 14 photos, such as .*x\.webp"):
        open_source(f"folder:{other}", service=address, keep_copies=True)


@pytest.mark.parametrize("address", ["localhost:5050", "http://localhost:5050", "grpc://localhost", "grpc://:1", "grpc://a:0"])
def test_an_address_of_another_form(address):
    with pytest.raises(UserError, match="another form than grpc://HOST:PORT"):
        service.check(address)


def test_nobody_is_there():
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(UserError, match=rf"no tf\.data service at grpc://localhost:{port} \(Connection refused\): start one"):
        service.check(f"grpc://localhost:{port}")


def test_a_dispatcher_without_workers_and_a_port_that_never_answers(monkeypatch):
    monkeypatch.setattr(service, "_ANSWER_SECONDS", 2)
    dispatcher = tf.data.experimental.service.DispatchServer()
    with pytest.raises(UserError, match="gives no data within 2 seconds: start a worker"):
        service.check(dispatcher.target)
    with socket.create_server(("localhost", 0)) as silent, pytest.raises(UserError, match="gives no data within 2 seconds"):
        service.check(f"grpc://localhost:{silent.getsockname()[1]}")


def test_the_program(capfd):
    assert service.run(["service"]) == 2
    assert service.run(["service", "--port=5051", "--dispatcher=localhost:1"]) == 2
    with socket.create_server(("", 0)) as taken:
        assert service.run(["service", f"--port={taken.getsockname()[1]}"]) == 2
        unused = socket.create_server(("localhost", 0))
        port = unused.getsockname()[1]
        unused.close()
        assert service.run(["service", f"--port={port}", f"--dispatcher=grpc://localhost:{port}"]) == 2
    said = capfd.readouterr().err
    assert all(text in said for text in ("No port was given", "another form", "can't be used", "No dispatcher answers"))
