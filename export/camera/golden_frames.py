"""Writes camera frames and the pixels and answers that networks must give for them, for the tests of the camera app.

  python -m export.camera.golden_frames --output=golden_frames.zip model.tflite other.tflite

The archive holds index.json and, for each case in it, the frame's memory, the tensor that the model gets and the tensor
that it returns. Frames come as YUV_420_888 of several strides, I420, NV12, NV21 and RGBA, of full and limited
range, of odd sizes, in all four rotations. The same models give the same archive.
"""

import dataclasses
import itertools
import json
import os
import pathlib
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags

from export.camera import reference
from shufflenet_tf import cli, imagenet
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import atomic_path
from shufflenet_tf.preprocessing import Preprocessing
from shufflenet_tf.tflite_classifier import LiteClassifier

FLAGS = cli.flag_values()
flags.DEFINE_string("output", None, "The archive to write, a .zip file.", flag_values=FLAGS)

SIZES = ((64, 48), (47, 61), (21, 17), (96, 31))  # width, height of frames
LAYOUTS = (("yuv420", "full"), ("yuv420", "limited"), ("i420", "full"), ("nv12", "limited"), ("nv21", "full"), ("rgba", "all"))
OF_ALL_MODELS = ("yuv420_full", "rgba")
INTERPOLATIONS = ("bilinear", "bicubic", "area", "lanczos3")
LARGE = (642, 361)  # too large to keep: tests draw it themselves and compare a checksum
TOP = 3
_FILL = 0xA5  # of bytes that belong to no sample


@dataclasses.dataclass(frozen=True)
class Frame:
    """A picture as it lies in memory.

    Attributes:
      pixels: uint8 [h, w, 3], the picture in RGB.
      memory: all of its bytes.
      planes: Y, U and V, or RGBA alone: offset, row stride and pixel stride of each, in bytes.
      limits: "full" or "limited" of YUV; "all" of RGBA.
    """

    pixels: np.ndarray
    memory: bytes
    planes: tuple[tuple[int, int, int], ...]
    limits: str


def samples(width: int, height: int, seed: int) -> np.ndarray:
    """Draws a plane, uint8 [height, width]: ramps with noise, by integers alone so that every language draws the same."""
    x, y = np.meshgrid(np.arange(width, dtype=np.int64), np.arange(height, dtype=np.int64))
    ramp = (x * (3 + seed) + y * (5 - seed)) // 4
    noise = ((x * 7919 + y * 104729 + seed * 1299709) * 2654435761 % (1 << 32)) >> 24
    return ((ramp + noise // 4) % 256).astype(np.uint8)


def frame(layout: str, width: int, height: int, limits: str) -> Frame:
    """Draws a frame; `layout` and `limits` are of `LAYOUTS`."""
    if layout == "rgba":
        rgba = np.stack([samples(width, height, seed) for seed in range(4)], -1)
        stride = 4 * width + 12
        memory = bytearray([_FILL]) * (stride * height - 12)
        _place(memory, rgba.reshape(height, -1), 0, stride, 1)
        return Frame(rgba[..., :3], bytes(memory), ((0, stride, 4),), "all")
    y = samples(width, height, 0)
    u, v = (samples((width + 1) // 2, (height + 1) // 2, seed) for seed in (1, 2))
    rows, columns = u.shape
    chroma = width * height
    planes = {
        # A gap behind each row, and behind each plane; the last row ends with its last sample, as in Android.
        "yuv420": (
            (0, width + 6, 1),
            ((width + 6) * height, 3 * columns + 5, 3),
            ((width + 6) * height + 1, 3 * columns + 5, 3),
        ),
        "i420": ((0, width, 1), (chroma, columns, 1), (chroma + rows * columns, columns, 1)),
        "nv12": ((0, width, 1), (chroma, 2 * columns, 2), (chroma + 1, 2 * columns, 2)),
        "nv21": ((0, width, 1), (chroma + 1, 2 * columns, 2), (chroma, 2 * columns, 2)),
    }[layout]
    ends = [o + (p.shape[0] - 1) * r + (p.shape[1] - 1) * s + 1 for p, (o, r, s) in zip((y, u, v), planes, strict=True)]
    memory = bytearray([_FILL]) * max(ends)
    for plane, place in zip((y, u, v), planes, strict=True):
        _place(memory, plane, *place)
    return Frame(reference.yuv_to_rgb(y, u, v, limits), bytes(memory), planes, limits)


def _place(memory: bytearray, plane: np.ndarray, offset: int, row_stride: int, pixel_stride: int) -> None:
    rows, columns = (np.arange(side) for side in plane.shape)
    np.frombuffer(memory, np.uint8)[offset + rows[:, None] * row_stride + columns * pixel_stride] = plane


def golden(models: Mapping[str, LiteClassifier]) -> Iterator[tuple[str, bytes]]:
    """Yields the names and contents of the archive's files, of models by their files' names.

    The first model is given all frames, the others those of two layouts.
    """
    frames, cases = {}, []
    for (w, h), (layout, limits) in itertools.product(SIZES, LAYOUTS):
        frames[f"{layout}_{limits}_{w}x{h}"] = frame(layout, w, h, limits)
    for name, drawn in frames.items():
        yield f"{name}.frame", drawn.memory
    for number, (model, classifier) in enumerate(models.items()):
        tensors = []
        for (name, drawn), rotation in itertools.product(frames.items(), reference.ROTATIONS):
            if number and not name.startswith(OF_ALL_MODELS):
                continue
            pixels = reference.resize_and_crop(drawn.pixels, classifier.preprocessing, classifier.input_shape[1:3], rotation)
            probabilities = classifier(pixels[None])[0]
            top = imagenet.likeliest(probabilities, TOP)
            tensors += [classifier._fed(pixels[None]), classifier._interpreter.get_tensor(classifier._output["index"])]
            case = {"model": model, "frame": name, "width": drawn.pixels.shape[1], "height": drawn.pixels.shape[0]}
            case |= {"range": drawn.limits, "planes": drawn.planes, "rotation": rotation, "top": top.tolist()}
            cases.append(case | {"probabilities": [round(float(p), 6) for p in probabilities[top]]})
        yield f"{model}.tensors", b"".join(tensor.tobytes() for tensor in tensors)
    yield "index.json", (json.dumps({"cases": cases, "large": _large()}) + "\n").encode()


def _large() -> list[dict[str, Any]]:
    """Returns checksums of a large RGBA frame preprocessed to 224 x 224 pixels, for each way of resizing."""
    width, height = LARGE
    image = np.stack([samples(width, height, seed) for seed in range(3)], -1)
    results = []
    for interpolation, antialias, rotation in itertools.product(INTERPOLATIONS, (True, False), reference.ROTATIONS):
        preprocessing = Preprocessing(interpolation=interpolation, antialias=antialias)
        pixels = reference.resize_and_crop(image, preprocessing, (224, 224), rotation)
        case = {"width": width, "height": height, "rotation": rotation, "preprocessing": json.dumps(preprocessing.to_config())}
        results.append(case | {"crc32": zlib.crc32(pixels.tobytes())})
    return results


def write(path: str | os.PathLike, models: Mapping[str, LiteClassifier]) -> None:
    """Writes the archive."""
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in golden(models):
            archive.writestr(zipfile.ZipInfo(name), content)  # ZipInfo has one date for all time


def main(arguments: list[str]) -> None:
    if not arguments or not FLAGS.output or not FLAGS.output.endswith(".zip"):
        raise UserError("Give --output=NAME.zip and one or more .tflite files; --help shows an example.")
    names = [pathlib.Path(path).name for path in arguments]
    if len(set(names)) < len(names):
        raise UserError(f"Two of {', '.join(names)} have the same name: the archive keeps models by their names.")
    write(FLAGS.output, {name: LiteClassifier(path) for name, path in zip(names, arguments, strict=True)})


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("export.camera.golden_frames", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
