"""What the camera app makes of a frame: evaluation's picture; and the files that its tests compare with."""

import json
import pathlib
import zipfile
import zlib

import golden_models
import hypothesis
import hypothesis.strategies as some
import numpy as np
import pytest

from export.camera import golden_frames, reference
from shufflenet_tf.preprocessing import PREPROCESSINGS, Preprocessing
from shufflenet_tf.tflite_classifier import LiteClassifier

RESOURCES = pathlib.Path(__file__).parents[3] / "android_demo/core/src/test/resources"
MODELS = ("uint8.tflite", "int8.tflite", "float32.tflite", "scaled.tflite")
KINDS = [Preprocessing(interpolation=kind, antialias=a) for kind in golden_frames.INTERPOLATIONS for a in (True, False)]


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def farthest(image: np.ndarray, preprocessing: Preprocessing, size: tuple[int, int], rotation: int = 0) -> int:
    """The largest difference from evaluation, in grey levels."""
    ours = reference.resize_and_crop(image, preprocessing, size, rotation).astype(int)
    upright = np.ascontiguousarray(np.rot90(image, -rotation // 90))
    return np.abs(ours - preprocessing.resize_and_crop(upright, size).numpy()).max()


@pytest.mark.parametrize("preprocessing", KINDS, ids=lambda p: f"{p.interpolation}-{p.antialias}")
@pytest.mark.parametrize("rotation", reference.ROTATIONS)
def test_a_camera_frame_is_evaluations_picture(preprocessing, rotation):
    """To one grey level, for noise and for black and white, whose edges are the hardest there are."""
    image = noise(181, 320)
    assert farthest(image, preprocessing, (64, 64), rotation) <= 1
    assert farthest(np.where(image > 127, 255, 0).astype(np.uint8), preprocessing, (97, 64), rotation) <= 1


@hypothesis.settings(deadline=None, max_examples=60)
@hypothesis.given(some.data())
def test_any_picture_is_evaluations_picture(data):
    side, small = some.integers(1, 120), some.integers(1, 40)
    kind = data.draw(some.sampled_from(golden_frames.INTERPOLATIONS))
    preprocessing = Preprocessing(
        resize=data.draw(some.integers(224, 400)), interpolation=kind, antialias=data.draw(some.booleans())
    )
    size, rotation = (data.draw(small), data.draw(small)), data.draw(some.sampled_from(reference.ROTATIONS))
    assert farthest(noise(data.draw(side), data.draw(side)), preprocessing, size, rotation) <= 1


@pytest.mark.parametrize("preprocessing", PREPROCESSINGS.values(), ids=PREPROCESSINGS)
def test_photos(preprocessing, shared):
    from PIL import Image

    for file in sorted((shared / "golden/images").glob("*.jpg"))[:3]:
        assert farthest(np.asarray(Image.open(file).convert("RGB")), preprocessing, (224, 224), 90) <= 1


@pytest.mark.parametrize("limits", ["full", "limited"])
def test_colours_are_those_of_floating_point(limits):
    u, v = np.meshgrid(np.arange(0, 256, 5), np.arange(0, 256, 3))
    black, luma, chroma = (0, 1, 1) if limits == "full" else (16, 255 / 219, 255 / 224)
    for y in range(256):
        planes = np.full((2 * u.shape[0], 2 * u.shape[1]), y, np.uint8), u.astype(np.uint8), v.astype(np.uint8)
        got = reference.yuv_to_rgb(*planes, limits)[::2, ::2]
        grey, cb, cr = (y - black) * luma, (u - 128) * chroma, (v - 128) * chroma
        exact = np.stack([grey + 1.402 * cr, grey - 0.344136 * cb - 0.714136 * cr, grey + 1.772 * cb], -1)
        assert np.abs(np.clip(exact, 0, 255) - got).max() < 0.51, "rounding is half a level"


def test_frames_show_what_they_say():
    """Read back sample by sample."""
    drawn = golden_frames.frame("yuv420", 7, 5, "limited")
    (y, u, v), memory = drawn.planes, np.frombuffer(drawn.memory, np.uint8)
    for row, column in np.ndindex(5, 7):
        at = [o + (row // s) * r + (column // s) * p for (o, r, p), s in ((y, 1), (u, 2), (v, 2))]
        pixel = reference.yuv_to_rgb(*(memory[i].reshape(1, 1) for i in at), "limited")
        np.testing.assert_array_equal(pixel[0, 0], drawn.pixels[row, column])
    assert len(memory) == max(at) + 1, "the last row ends with its last sample"


@pytest.fixture(scope="module")
def models() -> dict[str, LiteClassifier]:
    return {name: LiteClassifier(RESOURCES / "models" / name) for name in MODELS}


def test_the_apps_models_can_be_made_again(models, tmp_path):
    for name, content in golden_models.models().items():
        (tmp_path / name).write_bytes(content)
        again, kept = LiteClassifier(tmp_path / name), models[name]
        assert (again.labels, again.preprocessing) == (kept.labels, kept.preprocessing)
        images = np.stack([noise(*kept.input_shape[1:3], seed) for seed in range(4)])
        np.testing.assert_allclose(again(images), kept(images), atol=0.02)


def test_the_apps_golden_files_are_up_to_date(models):
    """If this fails after a change on purpose, write them again: export/camera/golden_frames.py says how, for these models."""
    with zipfile.ZipFile(RESOURCES / "golden_frames.zip") as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    for name, content in golden_frames.golden(models):
        there = kept.pop(name)
        if name == "index.json":
            (cases, probabilities), (expected, close) = _index(there), _index(content)
            assert cases == expected
            np.testing.assert_allclose(probabilities, close, atol=2e-6)
        elif name == "float32.tflite.tensors":  # processors differ in the last bit of what a float network returns
            np.testing.assert_allclose(np.frombuffer(there, np.float32), np.frombuffer(content, np.float32), rtol=0, atol=1e-6)
        else:
            assert there == content, name
    assert not kept


def _index(content: bytes) -> tuple[dict, list[list[float]]]:
    """The index without probabilities, and these."""
    index = json.loads(content)
    return index, [case.pop("probabilities") for case in index["cases"]]


def test_the_program(models, tmp_path, capsys):
    path = tmp_path / "golden.zip"
    model = str(RESOURCES / "models/uint8.tflite")
    assert golden_frames.run(["golden_frames", f"--output={path}", model]) == 0
    with zipfile.ZipFile(path) as archive:
        index = json.loads(archive.read("index.json"))
        tensors = np.frombuffer(archive.read("uint8.tflite.tensors"), np.uint8).reshape(len(index["cases"]), -1)
    case = index["cases"][17]
    assert np.argmax(tensors[17, -5:]) == case["top"][0] and len(case["planes"]) in (1, 3)
    large = index["large"][3]
    image = np.stack([golden_frames.samples(*golden_frames.LARGE, seed) for seed in range(3)], -1)
    pixels = reference.resize_and_crop(
        image, Preprocessing.of(json.loads(large["preprocessing"])), (224, 224), large["rotation"]
    )
    assert zlib.crc32(pixels.tobytes()) == large["crc32"]
    for arguments in ([model], [f"--output={path}"], [f"--output={path}", model, model], ["--output=a.txt", model]):
        assert golden_frames.run(["golden_frames", *arguments]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
