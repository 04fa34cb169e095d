"""Reads published weights: recognises the network by the content of the file, and gives the tensors our names."""

import dataclasses
import os
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from shufflenet_tf import imagenet
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import open_npz
from shufflenet_tf.preprocessing import PREPROCESSINGS, Preprocessing
from shufflenet_tf.weights import canonical, hub, layouts, safetensors, torch_file
from shufflenet_tf.weights.download import imagenet_file
from shufflenet_tf.weights.tensors import Tensors
from shufflenet_tf.wiring import WIRINGS, Wiring

_REMEDY = "give a tensorpack .npz, a torchvision .pth or .safetensors, a megvii .pth.tar or weights that canonical.save wrote."
# Files that people give instead of a checkpoint, by their first bytes.
_OTHER_FILES = {
    b"version https://git-lfs": "is a Git LFS pointer and not the file itself: run git lfs pull.",
    b"<": "is a web page or other text, not a checkpoint: download the file itself.",
    b"\x1f\x8b": "is compressed: unpack it with gunzip and give the file inside.",
    **dict.fromkeys((b"\xff\xd8\xff", b"\x89PNG", b"GIF8"), "is an image and no checkpoint: give the model's file."),
    b"GGUF": "is a GGUF file, which none of these networks comes in: give the checkpoint that it came from.",
    b"\x89HDF": "is an HDF5 file: give the .keras file or the checkpoint that it came from.",
}
# Classes whose widths identify the registered network; for others, the file's configuration does.
_RECOGNISED = ("ShuffleNetV1", "ShuffleNetV2", "ShuffleNetV2Plus")

_USUAL_DEVIATION = 58.0  # of ImageNet's pixels, 0 to 255


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Weights under our names, and everything that is needed to use them.

    Attributes:
      path: path of the file.
      source: "tensorpack", "torchvision", "megvii" or "shufflenet_tf".
      family: "v1", "v2", "v2_plus", or another network's class name.
      channels: output channels of the first convolution and of the stages.
      groups: V1: number of groups of its convolutions; else 1.
      classes: number of classes; 0: there is no classifier.
      wiring, preprocessing: those that the weights were trained with.
      arrays: weights by canonical name.
      config: the network's configuration, labels included, if the file has it.
      passed_over: names of ignored tensors, for which the network has no layer: another classifier, a loss.
      note: a remark about the file; "": none.
    """

    path: str
    source: str
    family: str
    channels: tuple[int, ...]
    groups: int
    classes: int
    wiring: Wiring
    preprocessing: Preprocessing
    arrays: Mapping[str, np.ndarray]
    config: Mapping[str, Any] | None = None
    passed_over: tuple[str, ...] = ()
    note: str = ""

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Names of the classes: the file's, or ImageNet's if a published network has 1000 classes."""
        if self.config is not None:
            return self.config.get("labels")
        return imagenet.labels() if self.classes == len(imagenet.labels()) else None

    def at_unit_scale(self) -> "Checkpoint":
        """Returns the same network with an input of a scale near 1, and its first convolution to match, for training.

        megvii's networks take pixels of 0 to 255. Gradients of their first convolution, whose weights are small in
        proportion, are so large that the first steps at a usual learning rate destroy it. Input and weights are scaled by a
        power of two, so that no result changes by a bit.
        """
        preprocessing = self.preprocessing
        scale = np.exp2(np.rint(np.log2(_USUAL_DEVIATION * preprocessing.scale / np.mean(preprocessing.std))))
        first = next((name for name, array in self.arrays.items() if array.ndim == 4 and array.shape[2] == 3), None)
        if first is None or scale < 4:
            return self
        return dataclasses.replace(
            self,
            preprocessing=dataclasses.replace(preprocessing, std=tuple(std * float(scale) for std in preprocessing.std)),
            arrays={**self.arrays, first: self.arrays[first] * np.float32(scale)},
        )

    def describe(self, network: str) -> str:
        """Returns a paragraph that describes the recognised network; `network` is its registered name."""
        sizes = sum(array.size for name, array in self.arrays.items() if not name.endswith("/EMA"))
        differing = ", ".join(f"{key} {value}" for key, value in self.wiring.to_config().items())
        contract = self.preprocessing
        return (
            f"{self.path}\n  network        {network}, {sizes:,} parameters\n"
            f"  channels       {', '.join(map(str, self.channels))}{f' in {self.groups} groups' if self.groups > 1 else ''}\n"
            f"  classes        {self.classes or 'no classifier'}\n  source         {self.source}\n"
            f"  wiring         {differing}\n"
            f"  preprocessing  {contract.channel_order.upper()}, scale {contract.scale:.5g}, mean {contract.mean}, "
            f"std {contract.std}, shorter side {contract.resize}, crop {contract.crop}, {contract.interpolation}"
            f"{'' if contract.antialias else ' without antialiasing'}"
            f"{self._notes()}"
        )

    def _notes(self) -> str:
        over = f"\n  ignored        {_few(self.passed_over)}" if self.passed_over else ""
        return over + (f"\n  note           {self.note}" if self.note else "")

    def check_classifier(self) -> None:
        """Raises a UserError if there is no classifier that the network can use."""
        if self.classes:
            return
        train = f"train one for your classes with train_main.py --weights={self.path}"
        if self.passed_over:
            raise UserError(
                f"{self.path} has another classifier than {self.source}'s single dense layer ({_few(self.passed_over)}), "
                f"and the network can't compute it: {train}, or replace it with a Linear in PyTorch."
            )
        raise UserError(f"{self.path} has no classifier: {train}, or build the network with include_top=False and weights=.")

    def without_top(self, model: tf.keras.Model) -> dict[str, np.ndarray]:
        """Returns `arrays` without those that only a classifier needs and that `model` doesn't have."""
        backbone = {name for name in canonical.named_variables(model)}
        top = ("linear/", "fc/", "last_se/")
        return {name: array for name, array in self.arrays.items() if name in backbone or not name.startswith(top)}


def read(path: str | os.PathLike) -> Checkpoint:
    """Reads a checkpoint of any known format, which is recognised by the file's content, not by its name.

    Raises:
      UserError: the file is missing or damaged, has weights that aren't finite, or belongs to no known network.
    """
    path, name = pathlib.Path(path), os.fspath(path)
    config = None
    _refuse_other_files(path)
    if safetensors.is_safetensors(path):
        tensors = safetensors.load(path)
    elif torch_file.is_torch_file(path):
        tensors = torch_file.load(path)
    else:
        with open_npz(path, _REMEDY) as file:
            state = {key.removesuffix(":0"): file[key] for key in file.files}
            if other := next((key for key, array in state.items() if not isinstance(array, np.ndarray)), None):
                raise ValueError(f"{other[:100]} in it is not an array")
        config = canonical.pop_config(state, name)
        tensors = Tensors.of(state)
    match = None if config else layouts.find(tensors)
    passed_over, note = (), ""
    if match is not None:
        arrays, passed_over = layouts.to_canonical(match, tensors, name)
        source = match.layout.source
        if match.others:
            used, others = (match.prefix or "the outermost").rstrip("."), _few([other.rstrip(".") for other in match.others])
            note = f"the weights are those of {used}; the file also has {others}"
    elif "conv1/W" in tensors or config:
        arrays, source = dict(tensors), "shufflenet_tf" if config else "tensorpack"
    elif tensors.remark:
        raise UserError(f"{name} {tensors.remark}")
    else:
        raise UserError(f"{name} holds {_few(tensors)}, which is no known network: {_REMEDY}")
    arrays = {key: _checked(array, key, name) for key, array in arrays.items()}
    return dataclasses.replace(_recognised(name, source, arrays, config), passed_over=passed_over, note=note)


def _refuse_other_files(path: pathlib.Path) -> None:
    """Raises a UserError for files that are recognised as something other than one checkpoint."""
    safetensors.refuse_index(path)
    try:
        with open(path, "rb") as file:
            head = file.read(32)
    except OSError:
        return  # the reader reports it
    for begin, sentence in _OTHER_FILES.items():
        if head.startswith(begin):
            raise UserError(f"{os.fspath(path)} {sentence}")


def of_model(model: tf.keras.Model, path: str) -> Checkpoint:
    """Returns the weights of a model of this project that was loaded from `path`."""
    return _recognised(path, "shufflenet_tf", canonical.arrays(model), canonical.config(model))


def find(weights: "str | os.PathLike | Checkpoint | None", network: str) -> Checkpoint | None:
    """Returns the checkpoint that a network's argument `weights` refers to.

    Args:
      weights: None, a path, a checkpoint that is read already, "imagenet" (torchvision's file for `network`), or the address
        of a shared model, hf://USER/NAME.
      network: name of the network that asks.

    Raises:
      UserError: see `read`; or there is no published file for the network, or it can't be downloaded.
    """
    if weights is None or isinstance(weights, Checkpoint):
        return weights
    if hub.is_address(weights):
        return read(hub.weights_file(weights))
    return read(imagenet_file(network) if weights == "imagenet" else weights)


def _few(names: Collection[str]) -> str:
    return f"{', '.join([name[:100] for name in names][:3])}{', …' if len(names) > 3 else ''}" if names else "nothing"


def _checked(array: np.ndarray, name: str, source: str) -> np.ndarray:
    """Returns a tensor of weights as float32.

    Raises:
      UserError: its values can't be weights.
    """
    if array.dtype.kind != "f":
        kind = "quantized, or it is damaged" if array.dtype.kind in "iu" else "damaged"
        raise UserError(f"{source} has {name} of type {array.dtype}, where floats are expected: it is {kind}.")
    with np.errstate(over="ignore"):
        array = np.asarray(array, np.float32)
    if not np.isfinite(array).all():
        raise UserError(f"{source} has {name} with values that aren't finite: its training diverged or it is damaged.")
    if name.endswith("variance/EMA") and array.size and array.min() < 0:
        raise UserError(f"{source} has {name} with values below zero, which no variance has: it is damaged.")
    return array


def _recognised(path: str, source: str, arrays: Mapping[str, np.ndarray], config: Mapping[str, Any] | None) -> Checkpoint:
    def output_channels(layer: str) -> int:
        """Returns the number of a layer's output channels."""
        name = f"{layer}/W"
        if name not in arrays or arrays[name].ndim < 2 or 0 in arrays[name].shape:
            state = f"has shape {arrays[name].shape}" if name in arrays else "is missing"
            raise UserError(f"{path} is not a complete ShuffleNet: {name} {state}.")
        return arrays[name].shape[-1]

    family, channels, groups = "", (), 1
    if config and config["class"] not in _RECOGNISED:
        family = config["class"]
    elif "stage2/block0/shortcut_conv/W" in arrays:
        family = "v2_plus" if "last_se/squeeze/W" in arrays else "v2"
        blocks = [f"stage{stage}/block0" for stage in ((1, 2, 3, 4) if family == "v2_plus" else (2, 3, 4))]
        channels = (
            output_channels("conv1"),
            *(output_channels(f"{block}/shortcut_conv") + output_channels(f"{block}/conv2") for block in blocks),
        )
    elif "stage2/block0/conv2_bn/gamma" in arrays:
        family = "v1"
        channels = (output_channels("conv1"), *(output_channels(f"stage{stage}/block1/conv2") for stage in (2, 3, 4)))
        # A kernel's third axis is the input channels of a group, and the bottleneck has a quarter of the output channels.
        groups = max(1, channels[1] // 4 // arrays["stage2/block1/conv2/W"].shape[-2])
    else:
        channels = (output_channels("conv1"),)
    try:
        wiring = Wiring.of(config["wiring"] if config and "wiring" in config else WIRINGS.get(source, "tensorpack"))
        preprocessing = Preprocessing.of(config["preprocessing"] if config else PREPROCESSINGS[source])
        shape, names = (config or {}).get("input_shape") or (), (config or {}).get("labels") or ()
        if not all(side is None or isinstance(side, int) for side in shape) or not all(isinstance(n, str) for n in names):
            raise ValueError("input_shape or labels")
    except (KeyError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise UserError(f"{path} has an invalid description of its network ({str(error)[:200]}): it is damaged.") from None
    return Checkpoint(
        path=path,
        source=source,
        family=family,
        channels=channels,
        groups=groups,
        classes=output_channels("linear") if "linear/W" in arrays else 0,
        wiring=wiring,
        preprocessing=preprocessing,
        arrays=arrays,
        config=config,
    )
