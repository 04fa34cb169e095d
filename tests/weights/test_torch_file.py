"""PyTorch files are read to the bit, and nothing in them runs, hangs or fills the memory."""

import gzip
import io
import os
import pathlib
import pickle
import random
import struct
import subprocess
import tarfile
import tracemalloc
import zipfile

import hypothesis.extra.numpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shufflenet_tf.errors import UserError
from shufflenet_tf.weights import torch_file

MAGIC, SYSTEM = 0x1950A86A20F9469CFC6C, {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
ARRAYS = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "bn.num_batches_tracked": np.array(7),
    "mask": np.array([True, False]),
    "half": np.float16([1.5, -2]),
}
ITEMS = pickle.dumps([[str(number), None] for number in range(3000)], 2)[2:-1]
ORDERED_DICT = b"ccollections\nOrderedDict\n)R"


def write_zip(path, data_pkl, records=(), root="x", **extra):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{root}/data.pkl", data_pkl)
        for number, record in enumerate(records):
            archive.writestr(f"{root}/data/{number}", record)
        for name, data in extra.items():
            archive.writestr(f"{root}/{name}", data)
    return path


def write_stream(path, main_pickle, records=(), system=SYSTEM):
    """`records`: for each storage, the number of elements and the bytes."""
    head = b"".join(pickle.dumps(value, 2) for value in (MAGIC, 1001, system))
    keys = pickle.dumps([str(number) for number in range(len(records))], 2)
    path.write_bytes(head + main_pickle + keys + b"".join(struct.pack("<q", n) + data for n, data in records))
    return path


def plain(value) -> bytes:
    return pickle.dumps(value, 2)[2:-1]


def tensor(kind, size, offset, shape, strides, view=b"", key="0") -> bytes:
    storage = (
        b"(" + plain("storage") + f"ctorch\n{kind}Storage\n".encode() + plain(key) + plain("cpu") + plain(size) + view + b"tQ"
    )
    place = plain(offset) + plain(shape) + plain(strides)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + place + b"\x89" + ORDERED_DICT + b"tR"


def state(*tensors: bytes) -> bytes:
    return b"\x80\x02}(" + b"".join(plain(f"t{number}") + data for number, data in enumerate(tensors)) + b"u."


def read(path) -> dict[str, np.ndarray]:
    return dict(torch_file.load(path))


def refusal(path) -> str:
    with pytest.raises(UserError) as caught:
        if not read(path):
            raise UserError(f"{path} {torch_file.load(path).remark}")  # as published.read does
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message and len(message) < 500
    return message


# ---- what is read ----


def gunzip(path: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    target = folder / path.stem
    target.write_bytes(gzip.decompress(path.read_bytes()))
    return target


def parameters(arrays) -> int:
    return sum(a.size for name, a in arrays.items() if not name.endswith(("running_mean", "running_var", "tracked")))


@pytest.mark.parametrize(
    "name, count, first",
    [
        ("megvii/shufflenetv1_0.5x_Group3.pth.tar", 717_324, "first_conv.0.weight"),
        ("megvii/shufflenetv1_0.5x_Group8.pth.tar", 1_010_448, "first_conv.0.weight"),
        ("megvii/shufflenet_v2_0.5x.random.pth.tar.gz", 1_365_792, "first_conv.0.weight"),
        ("torchvision/shufflenet_v2_x0_5.pth.gz", 1_366_792, "conv1.0.weight"),
        ("torchvision/shufflenet_v2_x1_0.pth.gz", 2_278_604, "conv1.0.weight"),
    ],
)
def test_published_checkpoints(shared, tmp_path, name, count, first):
    path = shared / "golden" / name
    path = gunzip(path, tmp_path) if path.suffix == ".gz" else path
    assert torch_file.is_torch_file(path)
    arrays = read(path)
    assert parameters(arrays) == count
    name = next(iter(arrays))
    assert name.removeprefix("state_dict.module.") == first and arrays[name].shape[1:] == (3, 3, 3)
    assert all(np.isfinite(array).all() for array in arrays.values())


def test_both_formats_hold_the_same(shared, tmp_path):
    new, old = (gunzip(shared / f"golden/torchvision/shufflenet_v2_x0_5.{end}.gz", tmp_path) for end in ("pth", "legacy.pth"))
    new, old = read(new), read(old)
    assert list(new) == list(old)
    for name, array in new.items():
        np.testing.assert_array_equal(array, old[name], strict=True)


@pytest.mark.parametrize("stream", [False, True])
def test_strides_offsets_and_shared_storages(tmp_path, stream):
    values = np.arange(12, dtype="<f4")
    content = state(
        tensor("Float", 12, 0, (3, 4), (4, 1)),
        tensor("Float", 12, 0, (4, 3), (1, 4)),
        tensor("Float", 12, 5, (2, 2), (4, 2)),
        tensor("Float", 12, 11, (), ()),
        tensor("Float", 12, 12, (0, 3), (3, 1)),
    )
    if stream:
        content = content.replace(plain(12) + b"tQ", plain(12) + b"NtQ")
        path = write_stream(tmp_path / "a.pth", content, [(12, values.tobytes())])
    else:
        path = write_zip(tmp_path / "a.pth", content + b"#" * 200, [values.tobytes()])
    whole = values.reshape(3, 4)
    for array, expected in zip(
        read(path).values(), [whole, whole.T, whole[1:, 1::2], whole[2, 3], np.empty((0, 3))], strict=True
    ):
        np.testing.assert_array_equal(array, expected.astype(np.float32))
        assert (
            type(array) is np.ndarray and array.shape == expected.shape and array.flags.c_contiguous and array.flags.writeable
        )


def test_bfloat16_becomes_float32(tmp_path):
    values = np.float32([[1, -2.5, 3e38], [0, np.inf, 2**-130]])
    values = (values.view(np.uint32) >> 16 << 16).view(np.float32)
    record = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    path = write_zip(
        tmp_path / "a.pth", state(tensor("BFloat16", 6, 0, (2, 3), (3, 1)), tensor("BFloat16", 6, 1, (), ())), [record]
    )
    matrix, scalar = read(path).values()
    np.testing.assert_array_equal(matrix, values, strict=True)
    np.testing.assert_array_equal(scalar, np.array(-2.5, np.float32), strict=True)


def test_checkpoints_with_other_entries(tmp_path):
    """Epochs, optimizers, arguments and results beside the state dict are passed over."""
    weights = b"}(" + plain("module.w") + tensor("Float", 1, 0, (1,), (1,)) + b"u"
    optimizer = (
        plain("optimizer") + b"}(" + plain(140_234_567_890_123) + b"}(" + plain("m") + tensor("Float", 1, 0, (1,), (1,)) + b"uu"
    )
    arguments = plain("args") + b"cargparse\nNamespace\n)\x81}" + plain("lr") + plain(0.5) + b"sb"
    best = plain("best") + pickle.dumps(np.float64(0.5), 2)[2:-1]
    others = (
        plain("epoch")
        + plain(3)
        + plain("arch")
        + plain("shufflenet")
        + plain("history")
        + plain([1.0, None, True, (1, 2), b"x"])
    )
    content = b"\x80\x02}(" + others + optimizer + arguments + best + plain("model") + weights + b"u."
    arrays = read(write_zip(tmp_path / "a.pth", content, [np.float32([2]).tobytes()]))
    assert list(arrays) == ["model.module.w"] and arrays["model.module.w"] == 2


def test_python_2_gives_the_items_of_a_dict_as_a_list(tmp_path):
    weights = b"ccollections\nOrderedDict\n](](U\x01w" + tensor("Float", 1, 0, (1,), (1,)) + b"ee\x85R"
    assert list(read(write_zip(tmp_path / "a.pth", b"\x80\x02" + weights + b".", [bytes(4)]))) == ["w"]


# ---- what is written ----

DTYPES = st.sampled_from(["f2", "f4", "f8", "i1", "u1", "i2", "i4", "i8", "?", ">f4"])
SOME_ARRAYS = DTYPES.flatmap(
    lambda dtype: hypothesis.extra.numpy.arrays(dtype, hypothesis.extra.numpy.array_shapes(min_dims=0, min_side=0))
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=20), SOME_ARRAYS, min_size=1, max_size=5))
def test_round_trip(tmp_path_factory, arrays):
    path = tmp_path_factory.getbasetemp() / "round_trip.pth"
    torch_file.write(path, {f"x{name}": array for name, array in arrays.items()})
    result = read(path)
    assert list(result) == [f"x{name}" for name in arrays]
    for array, expected in zip(result.values(), arrays.values(), strict=True):
        assert array.dtype == expected.dtype.newbyteorder("=") and array.shape == expected.shape
        assert array.tobytes() == expected.astype(array.dtype).tobytes()


def test_the_data_are_aligned_and_the_file_does_not_depend_on_the_hour(tmp_path):
    arrays = {f"w{number}": np.full((5, 1 + number), number, np.float32) for number in range(1, 9)}
    torch_file.write(tmp_path / "a.pth", arrays)
    torch_file.write(tmp_path / "b.pth", {name: array.T.copy().T for name, array in arrays.items()})
    data = (tmp_path / "a.pth").read_bytes()
    assert data == (tmp_path / "b.pth").read_bytes()
    assert [data.index(array.tobytes()) % 64 for array in arrays.values()] == [0] * 8
    assert sorted(os.listdir(tmp_path)) == ["a.pth", "b.pth"]


@pytest.mark.parametrize("array", [np.array(["text"]), np.array([1j]), np.array([None]), np.array([1], np.uint16)])
def test_other_types_are_refused_by_name(tmp_path, array):
    with pytest.raises(UserError, match=r"fc\.weight is of type"):
        torch_file.write(tmp_path / "a.pth", {"fc.weight": array})
    assert not list(tmp_path.iterdir())


def test_pytorch_reads_what_is_written_and_the_other_way_round(tmp_path):
    torch = pytest.importorskip("torch")
    torch_file.write(tmp_path / "a.pth", ARRAYS)
    loaded = torch.load(tmp_path / "a.pth", weights_only=True, mmap=True)
    assert list(loaded) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(loaded[name].numpy(), array, strict=True)
    for new in (True, False):
        torch.save({"model": loaded, "epoch": 3}, tmp_path / "b.pth", _use_new_zipfile_serialization=new)
        for name, array in read(tmp_path / "b.pth").items():
            np.testing.assert_array_equal(array, ARRAYS[name], strict=True)


# ---- what is refused ----


class Call:
    """Pickles as a call, which a careless reader would make."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.fixture(params=["zip", "stream"])
def hold(request, tmp_path):
    """Puts a pickle into a file of either format."""
    return lambda content: (write_zip if request.param == "zip" else write_stream)(tmp_path / "a.pth", content)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("nested", [False, True])
def test_no_call_is_made(hold, tmp_path, monkeypatch, protocol, nested):
    monkeypatch.chdir(tmp_path)
    for call, name in [
        (Call(os.system, "touch trace"), "system"),
        (Call(eval, "open('trace', 'w')"), "eval"),
        (Call(exec, "open('trace', 'w')"), "exec"),
        (Call(subprocess.run, ["touch", "trace"]), "s.run"),
        (Call(getattr, "", "join"), "getattr"),
        (Call(open, "trace", "w"), "open"),
        (Call(pathlib.Path.touch, pathlib.Path("trace")), "getattr" if protocol < 4 else "Path"),
    ]:
        message = refusal(hold(pickle.dumps({"state_dict": {"w": [1, (call,)]}} if nested else call, protocol)))
        assert "nothing was run" in message
        # Protocols up to 2 say commands.run for subprocess.run, and 0 writes a dict by an instruction that is itself refused.
        assert name in message or (nested and protocol == 0 and "the pickle instruction" in message)
        assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    "instructions, named",
    [
        (b"cos\nsystem\n(X\x0b\0\0\0touch tracetR.", "os.system"),
        (b"c__builtin__\neval\n.", "__builtin__.eval"),
        (b"\x8c\x05posix\x8c\x06system\x93\x8c\x0btouch trace\x85R.", "posix.system"),
        (b"(X\x0b\0\0\0touch traceios\nsystem\n.", "os.system"),
        (b"(cos\nsystem\nX\x0b\0\0\0touch traceo.", "os.system"),
        (b"(ccollections\nOrderedDict\no.", "no state dict"),
        (b"csubprocess\nPopen\nX\x05\0\0\0touch\x85\x81.", "subprocess.Popen"),
        (b"csubprocess\nPopen\n)}\x92.", "subprocess.Popen"),
        (ORDERED_DICT + b"}X\x0c\0\0\0__setstate__cos\nsystem\nsb.", "os.system"),
        (b"\x82\x01.", "EXT1"),
        (b"\x83\x01\x00.", "EXT2"),
        (b"\x84\x01\x00\x00\x00.", "EXT4"),
        (b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n.", "__globals__"),
        (b"\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93.", "OrderedDict.__init__"),
        (b"cnumpy\nload\n.", "numpy.load"),
        (b"ctorch\nload\n.", "torch.load"),
        (b"ctorch.jit._serialization\nload\n.", "torch.jit"),
        (b"cbuil\x1b[2Jtins\nev\xc3\xa9l\n.", ""),
    ],
)
def test_what_a_crafted_pickle_asks_for_is_named(hold, tmp_path, monkeypatch, instructions, named):
    monkeypatch.chdir(tmp_path)
    message = refusal(hold(b"\x80\x04" + instructions))
    assert named in message and message.isascii() and message.isprintable()
    assert not (tmp_path / "trace").exists()


def test_attributes_are_never_set(tmp_path):
    """BUILD on what is allowed changes nothing, whatever its state is."""
    weights = (
        ORDERED_DICT + b"}" + plain("items") + plain("evil") + b"sb(" + plain("w") + tensor("Float", 1, 0, (1,), (1,)) + b"u"
    )
    assert read(write_zip(tmp_path / "a.pth", b"\x80\x02" + weights + b".", [bytes(4)]))["w"] == 0


@pytest.mark.parametrize(
    "description",
    [
        ("Float", 12, 0, (13,), (1,)),
        ("Float", 12, 1, (12,), (1,)),
        ("Float", 12, 0, (3, 4), (5, 1)),
        ("Float", 12, -1, (2,), (1,)),
        ("Float", 12, 3, (2,), (-1,)),
        ("Float", 12, 0, (-1,), (1,)),
        ("Float", 12, 0, (3, 4), (4,)),
        ("Float", 12, 0, (1,) * 40, (1,) * 40),
        ("Float", 12, 0, (2**62, 2**62), (0, 0)),
        ("Float", 12, 0, (10**6,), (0,)),
        ("Float", 12, 0, (0, 2**62, 2**62), (1, 1, 1)),
        ("Float", 12, 0, (True,), (1,)),
        ("Float", 12, 0, ("4",), (1,)),
        ("Float", 12, 0, [4], [1]),
        ("Float", 12, 0.5, (4,), (1,)),
        ("Float", 2**60, 0, (2**60,), (1,)),
        ("Float", 11, 0, (1,), (1,)),
        ("Float", -12, 0, (1,), (1,)),
        ("Float", "12", 0, (1,), (1,)),
        ("Double", 12, 0, (1,), (1,)),
    ],
)
def test_a_tensor_outside_of_its_storage(tmp_path, description):
    refusal(write_zip(tmp_path / "a.pth", state(tensor(*description)), [bytes(48)]))


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02",
        b"\x80\x02.",
        b"\x80\x02N.",
        b"\x80\x02}.",
        b"\x80\x02NN.",
        b"\x80\x02K\x01Q.",
        b"\x80\x02h\x05.",
        b"\x80\x02}Nu.",
        b"\x80\x02]}K\x01s.",
        b"\x80\x02}(K\x01u.",
        b"\x80\x02]r\xff\xff\xff\xff.",  # a C unpickler's memo would take 64 GB
        b"\x80\x02\x8b\xff\xff\xff\x7f.",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f}.",
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x02X\xff\xff\xff\xffa.",
        b"\x80\x02L" + b"9" * 100_000 + b"L\n.",
        b"\x80\x02" + b"(" * 100_000 + b".",
        b"\x80\x02)" + b"\x85" * 150_000 + b"q\x00}h\x00Ns.",  # a hash of it would end the process
        b"\x80\x02)" + b"q\x00h\x00\x86" * 60 + b"q\x00}h\x00Ns.",  # and of this would last for ever
        b"\x80\x02)" + b"q\x00h\x00\x86" * 60 + b"Q.",
        b"\x80\x02)" + b"q\x00h\x00\x86" * 60 + b")R.",
        b"\x80\x02" + ITEMS + b"r\xff\xff\0\0(" + b"ccollections\nOrderedDict\nj\xff\xff\0\0\x85R" * 3000 + b"t.",
        b"\x80\x02}(" + plain("w") + tensor("Float", 12, 0, (1,), (1,), key="../0") + b"u.",
        b"\x80\x02}(" + plain("w") + tensor("Float", 12, 0, (1,), (1,), key="1") + b"u.",
        state(tensor("Float", 12, 0, (1,), (1,)), tensor("Int", 12, 0, (1,), (1,))),
    ],
    ids=range(25),
)
def test_crafted_pickles_end_soon_and_small(tmp_path, content):
    path = write_zip(tmp_path / "a.pth", content, [bytes(48)])
    tracemalloc.start()
    refusal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150e6


def test_the_work_that_a_pickle_can_ask_for_is_limited(tmp_path):
    assert "too long" in refusal(write_zip(tmp_path / "a.pth", b"\x80\x02" + b"N" * 1_000_100 + b"."))
    assert "name is too long" in refusal(write_zip(tmp_path / "a.pth", b"\x80\x02}" + plain("n" * 20_000) + b"Ns."))


def test_crafted_archives(tmp_path):
    good = state(tensor("Float", 12, 0, (12,), (1,)))
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", good)
        archive.writestr("x/data/0", bytes(10**7))
    assert "compressed" in refusal(tmp_path / "bomb.pth")
    assert "big-endian" in refusal(write_zip(tmp_path / "a.pth", good, [bytes(48)], byteorder=b"big"))
    assert "big-endian" in refusal(write_stream(tmp_path / "a.pth", good, system={"little_endian": False}))
    assert "TorchScript" in refusal(write_zip(tmp_path / "a.pth", good, [bytes(48)], **{"constants.pkl": b""}))
    assert "no state dict" in refusal(write_zip(tmp_path / "a.pth", pickle.dumps({"epoch": 3}, 2)))
    assert "0.3" in refusal(write_zip(tmp_path / "a.pth", good.replace(b"tQ", plain(("1", 0, 12)) + b"tQ"), [bytes(48)]))
    for records in ([], [bytes(47)], [bytes(49)]):
        refusal(write_zip(tmp_path / "a.pth", good, records))
    for records in ([], [(12, bytes(47))], [(13, bytes(52))], [(-1, bytes(48))], [(2**61, b"")], [(2**62, bytes(48))]):
        refusal(write_stream(tmp_path / "a.pth", good, records))
    assert "too early" in refusal(write_stream(tmp_path / "a.pth", good, [(12, bytes(40))]))
    data = bytearray(write_zip(tmp_path / "a.pth", good, [bytes(48)]).read_bytes())
    sizes = data.rindex(b"x/data/0") - 46 + 20  # in the directory at the end
    data[sizes : sizes + 8] = struct.pack("<II", 2**31, 2**31)
    (tmp_path / "a.pth").write_bytes(data)
    assert "larger than the file" in refusal(tmp_path / "a.pth")
    data[data.rindex(b"PK\1\2") + 6] = 64  # "needs version 6.4 of zip"
    (tmp_path / "a.pth").write_bytes(data)
    assert "zip file version 6.4" in refusal(tmp_path / "a.pth") and torch_file.is_torch_file(tmp_path / "a.pth")


def test_other_files(tmp_path):
    refusal(tmp_path)
    refusal(tmp_path / "missing.pth")
    for content in (
        b"",
        b"P",
        b"PK\3\4",
        b"PK\5\6" + bytes(18),
        b"weights: none\n",
        b"\x80\x02",
        b"\x89HDF\r\n",
        bytes(1000),
    ):
        (tmp_path / "a.pth").write_bytes(content)
        refusal(tmp_path / "a.pth")
    np.savez(tmp_path / "a.npz", w=np.ones(3))
    assert "data.pkl" in refusal(tmp_path / "a.npz")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO())
    assert "tar archive" in refusal(tmp_path / "a.tar")
    for name in ("a.npz", "missing", "."):
        assert not torch_file.is_torch_file(tmp_path / name)


@pytest.mark.parametrize("stream", [False, True])
def test_damaged_files(tmp_path, stream):
    """Cuts and flipped bits end in a UserError or in arrays no larger than the file; a zip notices every flip in its data."""
    path = tmp_path / "a.pth"
    torch_file.write(path, ARRAYS)
    if stream:
        with zipfile.ZipFile(path) as archive:
            main = archive.read("archive/data.pkl")
            records = [(array.size, array.tobytes()) for array in ARRAYS.values()]
            write_stream(path, main, records)
            assert read(path).keys() == ARRAYS.keys()
    good = path.read_bytes()
    assert torch_file.is_torch_file(path)
    place = random.Random(0)
    tracemalloc.start()
    for _ in range(40):
        path.write_bytes(good[: place.randrange(len(good))])
        refusal(path)
    accepted = 0
    for flips in [1] * 200 + [5] * 50:
        data = bytearray(good)
        for _ in range(flips):
            data[place.randrange(len(data))] ^= 1 << place.randrange(8)
        path.write_bytes(data)
        try:
            arrays = read(path)
        except UserError as error:
            assert str(path) in str(error)
            continue
        accepted += 1
        assert sum(array.nbytes for array in arrays.values()) <= len(data)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    assert accepted < 250
    data = bytearray(good)
    data[good.index(ARRAYS["conv.weight"].tobytes()) + 30] ^= 1
    path.write_bytes(data)
    if stream:
        assert (read(path)["conv.weight"] != ARRAYS["conv.weight"]).sum() == 1
    else:
        refusal(path)
