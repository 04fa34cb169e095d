"""What is fuzzed: readers of files, with sound files to start from."""

import dataclasses
import functools
import importlib
import io
import json
import os
import pathlib
import random
import struct
import tempfile
from collections.abc import Callable

import numpy as np
from PIL import Image

from benchmarks.fuzz import mutate
from export.flatbuffer import inspection, validation
from export.optimize import optimize, targets
from shufflenet_tf import tflite_classifier
from shufflenet_tf.cli import run_and_report
from shufflenet_tf.data import decode, pillow_files
from shufflenet_tf.data.folder import open_folder
from shufflenet_tf.errors import UserError
from shufflenet_tf.text_files import expand_flag_files
from shufflenet_tf.training import checkpoint
from shufflenet_tf.weights import canonical, layouts, published, torch_file

PROGRAM = "train_main"  # whose flag files are read

ROOT = pathlib.Path(__file__).resolve().parents[2]
REFUSALS = (UserError, decode.UndecodableError, validation.InvalidModel, targets.InvalidTarget)


@dataclasses.dataclass(frozen=True)
class Subject:
    """A reader, and files for it.

    Attributes:
      seeds: makes sound files.
      change: (dice, a sound file) -> a file that is probably damaged.
      read: gives a file to the product; `REFUSALS` are what should come of it.
      share: how many of the inputs are its, relative to the others.
      writes: whether it may write files or start processes itself.
    """

    seeds: Callable[[], list[bytes]]
    change: Callable[[random.Random, bytes], bytes]
    read: Callable[[pathlib.Path], object]
    share: float = 1.0
    writes: bool = False

    def input(self, dice: random.Random) -> bytes:
        """Returns one input."""
        return self.change(dice, dice.choice(self.seeds()))


# ---- weights ----


@functools.cache
def _state() -> dict[str, np.ndarray]:
    """Returns a state dict in torchvision's layout with few channels."""
    state = {}
    for ours, theirs in layouts.TORCHVISION.modules(set()):
        rank = 2 if ours == "linear" else 4
        state[f"{theirs}.weight"] = np.full((2,) * rank, 0.5, np.float32)
        if rank == 2:
            state[f"{theirs}.bias"] = np.zeros(2, np.float32)
            continue
        prefix, index = theirs.rsplit(".", 1)
        for name in ("weight", "bias", "running_mean", "running_var"):
            state[f"{prefix}.{int(index) + 1}.{name}"] = np.ones(2, np.float32)
    return state


def _written(write: Callable[[pathlib.Path], None]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write(pathlib.Path(folder) / "file")
        return (pathlib.Path(folder) / "file").read_bytes()


@functools.cache
def _pth() -> list[bytes]:
    prefixed = {f"module.{name}": array for name, array in _state().items()}
    return [_written(lambda path, state=state: torch_file.write(path, state)) for state in (_state(), prefixed)]


def _change_pth(dice: random.Random, seed: bytes) -> bytes:
    def entry(dice: random.Random, name: str, data: bytes) -> bytes:
        return mutate.mutate_pickle(dice, data) if name.endswith("data.pkl") else mutate.mutate_bytes(dice, data)

    return mutate.mutate_bytes(dice, seed) if dice.random() < 0.2 else mutate.mutate_zip(dice, seed, entry)


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


@functools.cache
def _canonical() -> list[bytes]:
    name = "torch"
    match = layouts.Match(layouts.TORCHVISION, "", ())
    arrays, _ = layouts.to_canonical(match, layouts.Tensors.of(_state()), name)
    config = {"class": "ShuffleNetV2", "network": None, "wiring": "torchvision", "preprocessing": "torchvision", "classes": 2}
    config |= {"labels": ["a", "b"], "input_shape": [32, 32, 3]}
    return [_npz({**arrays, canonical.CONFIG: np.array(json.dumps(config))}), _npz(arrays), _npz(_state())]


def _change_npz(dice: random.Random, seed: bytes) -> bytes:
    def entry(dice: random.Random, name: str, data: bytes) -> bytes:
        return mutate.mutate_header(dice, data, 128) if dice.random() < 0.7 else mutate.mutate_bytes(dice, data)

    return mutate.mutate_bytes(dice, seed) if dice.random() < 0.2 else mutate.mutate_zip(dice, seed, entry)


@functools.cache
def _progress() -> list[bytes]:
    text = json.dumps({"step": 3, "history": [{"epoch": 1, "val_top1": 0.5}], "best": 0.5, "run": {"steps": 5}})
    return [_npz({"progress": np.frombuffer(text.encode(), np.uint8), "weights/a": np.ones(3)})]


def _read_progress(path: pathlib.Path) -> object:
    (target := path.with_name(checkpoint.NAME)).write_bytes(path.read_bytes())
    return checkpoint.read_progress(target.parent)


@functools.cache
def _safetensors() -> list[bytes]:
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, array in _state().items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    index = json.dumps({"metadata": {}, "weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}).encode()
    return [struct.pack("<Q", len(text)) + text + data] * 4 + [struct.pack("<Q", len(index)) + index]


def _change_safetensors(dice: random.Random, seed: bytes) -> bytes:
    if dice.random() < 0.2:
        return mutate.mutate_bytes(dice, seed)
    changed = mutate.mutate_safetensors(dice, seed)
    return changed[8:] if dice.random() < 0.05 else changed


# ---- photos ----


@functools.cache
def _images() -> list[bytes]:
    pixels = np.add.outer(np.arange(24), 3 * np.arange(40)).astype(np.uint8)
    image = Image.fromarray(np.stack([pixels, pixels.T.reshape(24, 40), 255 - pixels], -1))
    exif = Image.Exif()
    exif[0x0112] = 6
    files = []
    for kind, mode, options in [
        ("JPEG", "RGB", {"exif": exif}),
        ("JPEG", "L", {"progressive": True}),
        ("JPEG", "CMYK", {}),
        ("PNG", "RGB", {}),
        ("PNG", "RGBA", {}),
        ("PNG", "P", {}),
        ("PNG", "I;16", {}),
        ("GIF", "P", {"save_all": True, "append_images": [image.convert("P").rotate(90)]}),
        ("BMP", "RGB", {}),
        ("BMP", "P", {}),
        ("WEBP", "RGB", {}),
    ]:
        converted = Image.fromarray(pixels.astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
        converted.save(content := io.BytesIO(), kind, **options)
        files.append(content.getvalue())
    return files


def _read_image(path: pathlib.Path) -> object:
    import tensorflow as tf

    orientation, plain = decode.examine(os.fspath(path))
    content = tf.io.read_file(os.fspath(path)) if plain else pillow_files.read_as_bmp(tf.constant(os.fspath(path)))
    return decode.decode(content, orientation)


_NAMES = (b"cat", b"dog ", b" bird", b"\xff\xfe", b"a\nb", b"train", b"test", b"val", b"@eaDir", b"#recycle", b"lost+found")
_NAMES += ("caf\u00e9".encode(), "cafe\u0301".encode(), b".hidden", b"x" * 200, b"-rf", b"%s", b"photo.jpg", b"Thumbs.db")


def _read_tree(path: pathlib.Path) -> object:
    """Draws a tree of folders by the numbers in the file, and opens it as a dataset."""
    dice = random.Random(path.read_bytes())
    with tempfile.TemporaryDirectory() as root:

        def fill(folder: bytes, depth: int) -> None:
            for _ in range(dice.randrange(6)):
                place = os.path.join(folder, dice.choice(_NAMES) + dice.choice((b"", b"", b"1", b".jpg", b".txt")))
                if os.path.lexists(place):
                    continue
                match dice.randrange(10):
                    case 0 | 1 | 2 | 3 if depth:
                        os.mkdir(place)
                        fill(place, depth - 1)
                    case 4:
                        os.symlink(dice.choice((folder, place, b"nowhere", b"..", b"/dev/null")), place)
                    case 5:
                        os.mkfifo(place)
                    case 6:
                        pathlib.Path(os.fsdecode(place)).write_bytes(dice.randbytes(dice.randrange(50)))
                    case _:
                        pathlib.Path(os.fsdecode(place)).write_bytes(dice.choice(_images()))

        fill(os.fsencode(root), 3)
        return open_folder(root, strict=dice.random() < 0.2, log=lambda _: None)


# ---- .tflite, metadata, targets, flag files ----


@functools.cache
def _tflite() -> list[bytes]:
    return [path.read_bytes() for path in sorted((ROOT / "android_demo/core/src/test/resources/models").glob("*.tflite"))]


def _change_tflite(dice: random.Random, seed: bytes) -> bytes:
    # The first and the last kilobytes hold the structure, what is between them weights.
    match dice.randrange(3):
        case 0:
            return mutate.mutate_bytes(dice, seed)
        case 1:
            return mutate.mutate_header(dice, seed)
    return seed[:-4000] + mutate.mutate_bytes(dice, seed[-4000:])


def _read_tflite(path: pathlib.Path) -> object:
    graph = inspection.read(path)
    return inspection.multiply_adds(graph), inspection.layers(graph), inspection.is_quantized(graph)


@functools.cache
def _packed() -> list[bytes]:
    return [content for content in _tflite() if b"PK\3\4" in content]


def _change_packed(dice: random.Random, seed: bytes) -> bytes:
    start = seed.index(b"PK\3\4")  # the archive behind the graph

    def entry(dice: random.Random, name: str, data: bytes) -> bytes:
        return (mutate.mutate_json_bytes if name.endswith(".json") else mutate.mutate_bytes)(dice, data)

    tail = seed[start:]
    return seed[:start] + (mutate.mutate_bytes(dice, tail) if dice.random() < 0.4 else mutate.mutate_zip(dice, tail, entry))


def _targets() -> list[bytes]:
    return [path.read_bytes() for path in sorted(targets.FOLDER.glob("*.json"))]


_FLAGS = "--epochs=3\n--learning_rate=0.1\n# a comment\n--noflip\n--image_size=96,128\n--dataset=folder:x\n--flagfile=other\n"
_FLAGS += "--seed=1\n--schedule=cosine\n--steps=100\n"


def _flag_files() -> list[bytes]:
    return [_FLAGS.encode(), *[path.read_bytes() for path in sorted((ROOT / "recipes").glob("*.flags"))[:5]]]


def _change_flags(dice: random.Random, seed: bytes) -> bytes:
    lines = seed.splitlines(keepends=True)
    dice.shuffle(lines)
    name = dice.choice(
        (b"--flagfile={}\n", b"--x", b"--seed=99999999999999999999\n", b"--epochs\n", b"--=\n", b"---\n", b"-\n")
    )
    lines.insert(dice.randrange(len(lines)), name)
    text = b"".join(lines)
    text = text if dice.random() < 0.3 else mutate.mutate_bytes(dice, text)
    return text.decode("latin-1").encode("utf-16") if dice.random() < 0.1 else text


def _read_flags(path: pathlib.Path) -> object:
    train_main = importlib.import_module(PROGRAM)

    path.write_bytes(path.read_bytes().replace(b"{}", os.fsencode(path)))  # a file that names itself
    try:
        arguments = ["train_main.py", f"--flagfile={path}"]
        status = run_and_report("train_main.py", lambda: train_main.FLAGS(expand_flag_files(arguments)) and None)
    finally:
        train_main.FLAGS.unparse_flags()
    if status not in (0, 2):
        raise AssertionError(f"the exit status is {status}")
    return status


SUBJECTS = {
    "pth": Subject(_pth, _change_pth, published.read, 4),
    "npz": Subject(_canonical, _change_npz, published.read, 2),
    "progress": Subject(_progress, _change_npz, _read_progress, 1, writes=True),
    "safetensors": Subject(_safetensors, _change_safetensors, published.read, 2),
    "image": Subject(_images, mutate.mutate_bytes, _read_image, 4),
    "folder": Subject(lambda: [b""], lambda dice, _: dice.randbytes(8), _read_tree, 0.5, writes=True),
    "tflite": Subject(_tflite, _change_tflite, _read_tflite, 3),
    "metadata": Subject(_packed, _change_packed, tflite_classifier.LiteClassifier, 2),
    "classifier": Subject(_tflite, _change_tflite, tflite_classifier.LiteClassifier, 0.3),
    "target": Subject(_targets, mutate.mutate_json_bytes, targets.Target.read, 2),
    "flags": Subject(_flag_files, _change_flags, _read_flags, 1, writes=True),
    "optimize": Subject(_tflite, _change_tflite, lambda path: optimize(path.read_bytes()), 0.005, writes=True),
}
