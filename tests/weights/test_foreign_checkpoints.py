"""Checkpoints as other people's training scripts write them: wrappers, bystanders, other heads, other formats."""

import argparse
import collections
import datetime
import io
import json
import os
import pathlib
import pickle
import struct
import sys
import types
import zipfile

import numpy as np
import pytest

import shufflenet_tf as st
from shufflenet_tf.errors import UserError
from shufflenet_tf.weights import canonical, layouts, published, safetensors, torch_file

KINDS = {"float32": "Float", "float16": "Half", "float64": "Double", "int64": "Long", "uint16": "BFloat16"}


@pytest.fixture(scope="module")
def model():
    return st.create_model("shufflenet_v2_0.5x", input_shape=(32, 32, 3), classes=5, wiring="torchvision")


@pytest.fixture(scope="module")
def state(model):
    return layouts.to_torchvision(canonical.arrays(model))


@pytest.fixture(scope="module")
def save():
    """Returns a function that writes a checkpoint as torch.save does, with the real pickle of whatever is in it."""
    torch = {}
    for module, names in {
        "torch": [f"{kind}Storage" for kind in KINDS.values()] + ["QInt8Storage"],
        "torch._utils": ["_rebuild_tensor_v2", "_rebuild_parameter", "_rebuild_qtensor"],
        "torch._tensor": ["_rebuild_from_type_v2"],
        "torch.nn.modules.container": ["Sequential"],
    }.items():
        sys.modules[module] = types.ModuleType(module)
        for name in names:
            torch[name] = type(name, (), {"__module__": module, "__qualname__": name})
            setattr(sys.modules[module], name, torch[name])

    class Rebuilt:
        def __init__(self, array, how):
            self.array, self.how = array, how

        def __reduce__(self):
            strides = tuple(stride // self.array.itemsize for stride in self.array.strides)
            place = (self, 0, self.array.shape, strides)
            plain = (torch["_rebuild_tensor_v2"], (*place, False, collections.OrderedDict()))
            if self.how == "parameter":
                return torch["_rebuild_parameter"], (Rebuilt(self.array, ""), True, collections.OrderedDict())
            if self.how == "subclass":
                return torch["_rebuild_from_type_v2"], (plain[0], torch["_rebuild_parameter"], plain[1], {})
            if self.how == "quantized":
                return torch["_rebuild_qtensor"], (*place, ("per_tensor", 0.1, 0), False, collections.OrderedDict())
            return plain

    class Pickler(pickle.Pickler):
        storages: list

        def persistent_id(self, value):
            # A tensor stands for its own storage where it is the first argument of what rebuilds it.
            if not isinstance(value, Rebuilt) or id(value) not in self.begun:
                if isinstance(value, Rebuilt):
                    self.begun.add(id(value))
                return None
            kind = torch["QInt8Storage" if value.how == "quantized" else f"{KINDS[value.array.dtype.name]}Storage"]
            self.storages.append(value.array)
            return "storage", kind, str(len(self.storages) - 1), "cuda:0", value.array.size

    def save(path, content, root="archive", how=""):
        def wrapped(value):
            if isinstance(value, np.ndarray):
                return Rebuilt(value, how)
            return {k: wrapped(v) for k, v in value.items()} if type(value) is dict else value

        buffer = io.BytesIO()
        pickler = Pickler(buffer, 2)
        pickler.storages, pickler.begun = [], set()
        keep = wrapped(content)
        pickler.dump(keep)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{root}/data.pkl", buffer.getvalue())
            for number, array in enumerate(pickler.storages):
                archive.writestr(f"{root}/data/{number}", array.tobytes(order="A"))
        return path

    yield save
    for module in ("torch", "torch._utils", "torch._tensor", "torch.nn.modules.container"):
        del sys.modules[module]


def prefixed(prefix, state):
    return {prefix + name: array for name, array in state.items()}


def check(path, model) -> published.Checkpoint:
    checkpoint = published.read(path)
    expected = canonical.arrays(model)
    assert checkpoint.arrays.keys() == expected.keys()
    for name, array in checkpoint.arrays.items():
        np.testing.assert_array_equal(array, expected[name], strict=True)
    return checkpoint


def refused(path) -> str:
    with pytest.raises(UserError) as caught:
        published.read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: prefixed("module.", state),
        lambda state: prefixed("_orig_mod.", state),
        lambda state: {"model": prefixed("module._orig_mod.", state)},
        lambda state: {"state_dict": {**prefixed("model.", state), "criterion.weight": np.ones(5, "f4")}, "epoch": 3},
        lambda state: {"state_dict": {**state, "criterion.weight": np.ones(5, "f4"), "conv1.total_ops": np.zeros(1)}},
        lambda state: {"model": {"backbone": {"net": prefixed("any.thing.", state)}}},
        lambda state: {"params": state},
        lambda state: {"history": [3, "name"], "encoder": state},
        lambda state: {"state_dict_ema": state, "optimizer": {"state": {0: {"momentum_buffer": np.zeros(3, "f4")}}}},
    ],
    ids=range(9),
)
def test_the_network_is_where_its_names_are(save, tmp_path, model, state, wrap):
    check(save(tmp_path / "w.ckpt", wrap(state)), model)


def test_averaged_weights_are_used_only_where_there_are_no_others(save, tmp_path, model, state):
    zeros = {name: array * 0 for name, array in state.items()}
    for key in ("model", "state_dict", "net"):
        note = check(save(tmp_path / "w.pth", {"model_ema": zeros, key: state}), model).note
        assert f"are those of {key}" in note and "also has model_ema" in note
    check(save(tmp_path / "w.pth", {"model": zeros, "state_dict": state}), model)


def test_modules_numbered_by_sequential(save, tmp_path, model, state):
    numbers = {"conv1": "0", "stage2": "2", "stage3": "3", "stage4": "4", "conv5": "5"}
    parts = [(*name.split(".", 1), array) for name, array in state.items() if not name.startswith("fc.")]
    path = save(tmp_path / "w.pth", {f"backbone.{numbers[module]}.{rest}": array for module, rest, array in parts})
    arrays = published.read(path).arrays
    expected = {name: array for name, array in canonical.arrays(model).items() if not name.startswith("linear/")}
    assert arrays.keys() == expected.keys() and all(np.array_equal(arrays[name], expected[name]) for name in arrays)


class Anything:
    def __init__(self, directory="trace"):
        self.directory = directory

    def __reduce__(self):
        return os.mkdir, (self.directory,)


@pytest.mark.parametrize(
    "bystander",
    [
        np.float64(0.93),
        ("MT19937", np.arange(624, dtype=np.uint32), 0, 0, 0.0),
        {"a", "b"},
        frozenset("ab"),
        datetime.datetime(2026, 1, 1),
        datetime.timedelta(3),
        pathlib.PurePosixPath("/data/x"),
        argparse.Namespace(lr=0.1, data=pathlib.PurePosixPath("x")),
        collections.defaultdict(list, {"loss": [1.0]}),
        collections.Counter("aab"),
        collections.deque([1, 2], 3),
        1j,
        2**80,
        range(3),
        bytearray(b"ab"),
        slice(1, 2),
        Anything(),
        [(Anything(), {"x": Anything()})],
        np.dtype("f4"),
        np.array(["a", None], object),
    ],
    ids=lambda value: type(value).__name__,
)
def test_bystanders_are_passed_over_and_never_built(save, tmp_path, monkeypatch, model, state, bystander):
    monkeypatch.chdir(tmp_path)
    content = {"before": (bystander,), "state_dict": state, "after": [bystander]}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):  # of a pickle with nothing but the bystander
        (tmp_path / "b.pth").write_bytes(b"")
        with zipfile.ZipFile(tmp_path / "b.pth", "w") as archive:
            archive.writestr("b/data.pkl", pickle.dumps({"x": bystander}, protocol))
        assert "holds no state dict" in refused(tmp_path / "b.pth")
    check(save(tmp_path / "w.pth", content), model)
    assert not (tmp_path / "trace").exists()


def test_archives_of_any_name(save, tmp_path, model, state):
    for root in ("best model (1)", "epoch=3-step=9", "a/b", "модель"):
        check(save(tmp_path / "w.bin", state, root=root), model)


@pytest.mark.parametrize("how", ["parameter", "subclass"])
def test_parameters_and_subclasses_of_tensors(save, tmp_path, model, state, how):
    check(save(tmp_path / "w.pth", state, how=how), model)


def test_strides_and_other_floats(save, tmp_path, model, state):
    turned = {name: np.asfortranarray(array) for name, array in state.items()}
    check(save(tmp_path / "w.pth", turned), model)
    check(save(tmp_path / "w.pth", {name: a.astype("f8") if a.dtype == "f4" else a for name, a in state.items()}), model)
    half = {name: a.astype("f2") if a.dtype == "f4" else a for name, a in state.items()}
    arrays = published.read(save(tmp_path / "w.pth", half)).arrays
    assert all(array.dtype == np.float32 for array in arrays.values())
    upper = {name: (a.view("u4") >> 16).astype("u2") if a.dtype == "f4" else a for name, a in state.items()}
    kernel = published.read(save(tmp_path / "w.pth", upper)).arrays["linear/W"]
    np.testing.assert_allclose(kernel, state["fc.weight"].T, rtol=2**-7)


# ---- other heads ----


def heads(state):
    trunk = {name: array for name, array in state.items() if not name.startswith("fc.")}
    weight, bias = state["fc.weight"], state["fc.bias"]
    return {
        "dropout": {**trunk, "fc.1.weight": weight, "fc.1.bias": bias},
        "mlp": {**trunk, "fc.0.weight": np.ones((64, 1024), "f4"), "fc.2.weight": np.ones((5, 64), "f4")},
        "beside": {**prefixed("backbone.", trunk), "head.weight": weight, "head.bias": bias},
        "none": trunk,
    }


@pytest.mark.parametrize("kind", ["dropout", "mlp", "beside", "none"])
def test_another_head_is_ignored_unless_it_is_needed(save, tmp_path, model, state, kind):
    path = save(tmp_path / "w.pth", heads(state)[kind])
    checkpoint = published.read(path)
    name = {"dropout": "fc.1.weight", "mlp": "fc.0.weight", "beside": "head.weight", "none": None}[kind]
    text = checkpoint.describe("shufflenet_v2_0.5x")
    assert checkpoint.classes == 0 and "no classifier" in text and (name or "") in text and ("  ignored " in text) == bool(name)
    features = st.ShuffleNetV2((32, 32, 3), alpha=0.5, include_top=False, weights=checkpoint)
    assert np.array_equal(canonical.arrays(features)["conv5/W"], canonical.arrays(model)["conv5/W"])
    for needed in (lambda: st.load(path), lambda: st.ShuffleNetV2((32, 32, 3), alpha=0.5, classes=5, weights=path)):
        with pytest.raises(UserError, match="another classifier.*train one for" if name else "no classifier: train one"):
            needed()


# ---- what is refused, and how ----


def test_whole_models_and_quantized_ones_are_named(save, tmp_path, state):
    module = sys.modules["torch.nn.modules.container"].Sequential()
    module._parameters, module._modules = {}, {"0": 1}
    for content in (module, {"epoch": 3, "model": module}):
        sentence = refused(save(tmp_path / "w.pt", content))
        assert "whole pickled model, a torch.nn.modules.container.Sequential" in sentence and "model.state_dict()" in sentence
    assert "_rebuild_qtensor" in refused(save(tmp_path / "w.pth", state, how="quantized"))
    assert "quantized" in refused(save(tmp_path / "w.pth", {name: array.astype("i8") for name, array in state.items()}))


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\x1f\x8b\x08\0", "gunzip"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\xff\xd8\xff\xe0", "an image"),
        (b"GGUF\3", "GGUF"),
        (json.dumps({"metadata": {}, "weight_map": {"a": "1-of-2.safetensors", "b": "2"}}).encode(), "in 2 parts"),
        (pickle.dumps({"conv1": [1.0]}), "torch.save did not write"),
        (bytes(257) + b"ustar" + bytes(300), "tar archive"),
    ],
)
def test_other_files_are_named(tmp_path, content, sentence):
    (tmp_path / "w.pth").write_bytes(content)
    assert sentence in refused(tmp_path / "w.pth")


# ---- safetensors ----

TYPES = {"float32": "F32", "float16": "F16", "float64": "F64", "int64": "I64", "uint16": "BF16"}


def write_safetensors(path, arrays, change=lambda header: None):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, array in arrays.items():
        place = [len(data), len(data) + array.nbytes]
        header[name] = {"dtype": TYPES[array.dtype.name], "shape": list(array.shape), "data_offsets": place}
        data += array.tobytes()
    text = json.dumps(change(header) or header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def test_safetensors(tmp_path, model, state):
    path = write_safetensors(tmp_path / "weights.any", prefixed("model.", state))
    assert safetensors.is_safetensors(path) and not torch_file.is_torch_file(path)
    check(path, model)
    for kind in ("f2", "f8"):
        path = write_safetensors(tmp_path / "w", {n: a.astype(kind) if a.dtype == "f4" else a for n, a in state.items()})
        assert all(array.dtype == np.float32 for array in published.read(path).arrays.values())
    upper = {name: (a.view("u4") >> 16).astype("u2") if a.dtype == "f4" else a for name, a in state.items()}
    kernel = published.read(write_safetensors(tmp_path / "w", upper)).arrays["linear/W"]
    np.testing.assert_allclose(kernel, state["fc.weight"].T, rtol=2**-7)


def first(header, **values):
    next(entry for name, entry in header.items() if name != "__metadata__").update(values)


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda header: first(header, data_offsets=[0, 2**60]), "outside"),
        (lambda header: first(header, data_offsets=[-4, 0]), "wrong shape or place"),
        (lambda header: first(header, data_offsets=[8, 4]), "outside"),
        (lambda header: first(header, data_offsets=[0]), "outside"),
        (lambda header: first(header, data_offsets="ab"), "wrong shape or place"),
        (lambda header: first(header, shape=[2]), "length that doesn't fit"),
        (lambda header: first(header, shape=[2**62, 2**62]), "length that doesn't fit"),
        (lambda header: first(header, shape=[1.0]), "wrong shape"),
        (lambda header: first(header, shape=[True]), "wrong shape"),
        (lambda header: first(header, shape=[1] * 40), "outside"),
        (lambda header: first(header, dtype=3), "not described"),
        (lambda header: header.update(extra=header["a"]), "overlaps"),
        (lambda header: header.update(extra=3), "not described"),
        (lambda header: [header], "damaged"),
    ],
)
def test_damaged_safetensors(tmp_path, change, reason):
    arrays = {"a": np.ones((3,), "f4"), "b": np.zeros((), "f4")}
    assert list(safetensors.load(write_safetensors(tmp_path / "w", arrays))) == ["a", "b"]
    assert reason in refused(write_safetensors(tmp_path / "w", arrays, change))


def test_safetensors_name_every_tensor_once_and_end_where_they_say(tmp_path):
    text = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    (tmp_path / "w").write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    assert "twice" in refused(tmp_path / "w")
    for text in (b"{" * 100_000, b'{"a":', b"{}"):
        (tmp_path / "w").write_bytes(struct.pack("<Q", len(text)) + text)
        refused(tmp_path / "w")


def test_safetensors_of_unknown_types_are_named(tmp_path, state):
    path = write_safetensors(tmp_path / "w", state, lambda header: first(header, dtype="F8_E4M3"))
    assert "F8_E4M3" in refused(path)
