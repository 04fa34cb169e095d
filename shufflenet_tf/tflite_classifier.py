"""A .tflite image classifier behind one call: uint8 RGB images in, probabilities out, labels from within the file."""

import json
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from shufflenet_tf import startup, tflite_trial
from shufflenet_tf.errors import UserError
from shufflenet_tf.preprocessing import Preprocessing
from shufflenet_tf.tflite_metadata import (
    LABELS,
    DamagedMetadataError,
    Metadata,
    compiled_for,
    label_text,
    litert_reason,
    packed_files,
    read_metadata,
    source_of,
)

# What TFLite's metadata packs is a zip archive behind the flatbuffer, which readers of either format pass over.
PREPROCESSING = "preprocessing.json"
_IDENTIFIER = b"TFL3"
_ENTRY = re.compile(rb"PK\x03\x04.{26}(%s|%s)" % tuple(re.escape(name.encode()) for name in (LABELS, PREPROCESSING)), re.DOTALL)


class LiteClassifier:
    """An image classifier in a .tflite file, run by LiteRT.

    It is fed raw pixels where it takes them: uint8, or int8 that is a pixel less 128. For any other input the file must say
    how pixels become it, in a `preprocessing.json` or by its metadata's NormalizationOptions.

    Args:
      path: the file.
      threads: of the interpreter, 1 by default.

    Attributes:
      input_shape: (1, height, width, 3).
      output_shape: (1, classes).
      labels: names of the classes in order, from the file that the metadata name, or labels.txt; None: it has none.
      preprocessing: from the file's preprocessing.json; else the default, with NormalizationOptions of the metadata.
      threshold: probability that the likeliest class must reach, else the answer is "not sure", from the metadata's
        ScoreThresholdingOptions; None: they have none.

    Raises:
      UserError: LiteRT is not installed, the file is missing or damaged, or it's no image classifier.
    """

    def __init__(self, path: str | os.PathLike, threads: int = 1):
        self._path = os.fspath(path)
        content, packed = _packed(self._path)
        if compiled := compiled_for(content):
            raise UserError(
                f"{self._path} is {compiled}, and runs there only: give the .tflite file that it was compiled from."
            )
        if reason := tflite_trial.trouble(self._path, content, threads):
            raise UserError(_cannot_run(self._path, reason))
        self._interpreter = _interpreter(self._path, threads)
        (self._input,), (self._output,) = self._details()
        self.input_shape = tuple(map(int, self._input["shape"]))
        self.output_shape = (1, int(self._output["shape"][-1]))
        metadata, text = self._described(content, packed)
        self.threshold = metadata.threshold
        self.labels = label_lines(text) if text is not None else None
        self.preprocessing = _preprocessing(self._path, packed.get(PREPROCESSING), metadata)
        if self.labels is not None and len(self.labels) != self.output_shape[1]:
            raise UserError(
                f"{self._path} has {len(self.labels)} labels for {self.output_shape[1]} classes: export it with one a class."
            )
        if not self._takes_pixels() and PREPROCESSING not in packed and not (metadata.mean and metadata.std):
            raise UserError(
                f"{self._path} takes {self._input['dtype'].__name__} and lacks our preprocessing, or the metadata's "
                "NormalizationOptions, which say how pixels become that: give a model that takes uint8, or one that this "
                "project has exported."
            )

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Classifies images.

        Args:
          images: uint8 [N, height, width, 3], RGB, cut to the model's size by `preprocessing.resize_and_crop`.

        Returns:
          Probabilities, float32 [N, classes]; a quantized model's are dequantized.

        Raises:
          UserError: images of another shape or type, or an output that is no probability.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != self.input_shape[1:]:
            expected = ", ".join(map(str, self.input_shape[1:]))
            raise UserError(f"{self._path} was given {images.dtype} {list(images.shape)}: give uint8 [N, {expected}].")
        probabilities = np.empty((len(images), self.output_shape[1]), np.float32)
        for image, row in zip(images, probabilities, strict=True):
            self._interpreter.set_tensor(self._input["index"], self._fed(image[None]))
            self._interpreter.invoke()
            row[:] = _real(self._interpreter.get_tensor(self._output["index"]), self._output).ravel()
        if probabilities.size and not (probabilities.min() >= 0 and probabilities.max() <= 1 + 1e-3):  # NaN fails too
            raise UserError(
                f"{self._path} returns values of {probabilities.min():g} to {probabilities.max():g} where probabilities are "
                "expected: give a model that ends with a softmax."
            )
        return probabilities

    def _described(self, content: bytes, packed: Mapping[str, bytes]) -> tuple[Metadata, str | None]:
        """What the metadata say, and the text with the labels."""
        try:
            metadata = read_metadata(content)
            return metadata, label_text(metadata, packed, self.output_shape[1])
        except DamagedMetadataError as error:
            raise UserError(
                f"{self._path} is damaged where its labels are packed ({error}): fetch or export it again."
            ) from None

    def _details(self) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
        """The interpreter's account of the one input [1, H, W, 3] and the one output [1, classes], or a UserError."""
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        shapes = [list(map(int, detail["shape"])) for detail in (*inputs, *outputs)]
        fits = len(inputs) == len(outputs) == 1 and len(shapes[0]) == 4 and shapes[0][0] == 1 and shapes[0][3] == 3
        fits = fits and min(shapes[0]) > 0 and -1 not in inputs[0]["shape_signature"][1:]
        fits = fits and len(shapes[1]) >= 2 and shapes[1][-1] == np.prod(shapes[1]) > 0
        types = {detail["dtype"] for detail in (*inputs, *outputs)}
        if not fits or not types <= {np.uint8, np.int8, np.float32}:
            raise UserError(
                f"{self._path} is no image classifier: it has inputs {shapes[: len(inputs)]} and outputs "
                f"{shapes[len(inputs) :]}, but [1, height, width, 3] and [1, classes] are expected."
            )
        return inputs, outputs

    def _takes_pixels(self) -> bool:
        kind = self._input["dtype"]
        return kind == np.uint8 or (kind == np.int8 and tuple(self._input["quantization"]) == (1.0, -128))

    def _fed(self, image: np.ndarray) -> np.ndarray:
        """Pixels uint8 [1, H, W, 3] as the model takes them."""
        kind = self._input["dtype"]
        if self._takes_pixels():
            return image if kind == np.uint8 else (image ^ 0x80).view(np.int8)  # flipping the highest bit subtracts 128
        image = self.preprocessing.normalize(image).numpy()
        if kind == np.float32:
            return image
        scale, zero = self._input["quantization"]
        return np.clip(np.round(image / scale) + zero, -128, 127).astype(np.int8)


def _real(values: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    if detail["dtype"] == np.float32:
        return values
    scale, zero = detail["quantization"]
    return (values.astype(np.int32) - zero) * np.float32(scale)


def label_lines(text: str) -> tuple[str, ...]:
    """Returns the labels of a file with one a line."""
    return tuple(line.strip() for line in re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff").rstrip()))


def _packed(path: str) -> tuple[bytes, dict[str, bytes]]:
    """A file's content, and the files that are packed into it, by name."""
    try:
        with open(path, "rb") as file:
            content = file.read()
        if content[4:8] != _IDENTIFIER:
            raise UserError(f"{path} is no TFLite model: give a .tflite file.")
        if packed := packed_files(content):
            return content, packed
    except FileNotFoundError:
        raise UserError(f"There is no file {path}: give a .tflite file.") from None
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror or error}): give a .tflite file.") from None
    except DamagedMetadataError as error:
        raise UserError(f"{path} is damaged where its labels are packed ({error}): fetch or export it again.") from None
    # An archive's index comes last, so that the files of one that was cut off would be missed in silence.
    if _ENTRY.search(content):
        raise UserError(f"{path} is truncated: fetch or export it again.")
    return content, {}


def _preprocessing(path: str, text: bytes | None, metadata: Metadata) -> Preprocessing:
    """Our own contract; else the default one, with the normalisation of the metadata where they have one."""
    try:
        if text is None and metadata.mean and metadata.std:
            mean, std = (values * 3 if len(values) == 1 else values for values in (metadata.mean, metadata.std))
            if not np.isfinite([*mean, *std]).all():
                raise ValueError("it has no finite numbers")
            return Preprocessing(scale=1.0, mean=mean, std=std)
        return Preprocessing.of(text and json.loads(text))
    except (ValueError, TypeError, ArithmeticError, RecursionError) as error:  # UserError is a ValueError
        name = PREPROCESSING if text is not None else "NormalizationOptions"
        raise UserError(f"{path} has a {name} that can't be used ({str(error)[:200]}): export it again.") from None


def _interpreter(path: str, threads: int) -> Any:
    """An ai_edge_litert interpreter, ready to be fed."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ModuleNotFoundError:
        raise UserError("A .tflite file needs LiteRT, which is not installed; run `pip install ai-edge-litert`.") from None
    reason = ""
    with startup.litert_held_back():
        try:
            interpreter = Interpreter(**source_of(path), num_threads=threads)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            reason = litert_reason(error)
    if reason:
        raise UserError(_cannot_run(path, reason))
    return interpreter


def _cannot_run(path: str, reason: str) -> str:
    return f"{path} can't be run by LiteRT ({reason}): it is damaged, or needs more than TFLite's own operators."
