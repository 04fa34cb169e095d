"""The layouts of published checkpoints, which map the names of their tensors to ours and back."""

import dataclasses
from collections.abc import Container, Iterator, Mapping

import numpy as np

from shufflenet_tf.errors import UserError
from shufflenet_tf.weights.tensors import Tensors
from shufflenet_tf.wiring import EPSILON

# Convolutions of a unit by our names, as "branch.index" of the originals' sequences; a normalization follows each of them.
_UNIT_V1 = {"conv1": "main_1.0", "dconv": "main_1.3", "conv2": "main_2.0"}
_PROJECTION = {"shortcut_dconv": "proj.0", "shortcut_conv": "proj.2"}
_UNIT_V2 = {"conv1": "main.0", "dconv": "main.3", "conv2": "main.5", **_PROJECTION}
_SEPARABLE = {f"{kind}{i}": f"main.{5 * i - back}" for i in (1, 2, 3) for kind, back in (("dconv", 5), ("conv", 3))}
_UNIT_XCEPTION = {**_SEPARABLE, **_PROJECTION}


@dataclasses.dataclass(frozen=True)
class Layout:
    """The keys of one family of checkpoints.

    Attributes:
      source: origin of the checkpoints, which is also a name of a wiring and of a preprocessing.
      family: family of the network: "v1", "v2" or "v2_plus".
      first_stage, repeats: number of the first stage, and number of units in each stage.
      names: the modules outside of the stages, by our names.
      block: key of a unit, with {stage} and {block}, or {index} over all stages.
      branches: keys of a unit's sequences "main" (V1: "main_1" and "main_2") and "proj".
    """

    source: str
    family: str
    names: Mapping[str, str]
    block: str
    branches: Mapping[str, str]
    first_stage: int = 2
    repeats: tuple[int, ...] = (4, 8, 4)

    def modules(self, keys: Container[str]) -> Iterator[tuple[str, str]]:
        """Yields our path of each convolution or dense layer and its module among the given `keys`."""
        yield "conv1", self.names["conv1"]
        index = 0
        for stage, repeats in enumerate(self.repeats, self.first_stage):
            for block in range(repeats):
                prefix = self.block.format(stage=stage, block=block, index=index)
                yield from self._unit(f"stage{stage}/block{block}", prefix, block == 0, keys)
                index += 1
        yield from ((ours, theirs) for ours, theirs in self.names.items() if ours != "conv1")

    def _unit(self, ours: str, theirs: str, first: bool, keys: Container[str]) -> Iterator[tuple[str, str]]:
        def module(place: str) -> str:
            branch, index = place.split(".", 1)
            return f"{theirs}.{self.branches[branch]}.{index}"

        xception = self.family == "v2_plus" and f"{module('main.12')}.weight" in keys
        unit = _UNIT_V1 if self.family == "v1" else _UNIT_XCEPTION if xception else _UNIT_V2
        for name, place in unit.items():
            if first or not name.startswith("shortcut"):
                yield f"{ours}/{name}", module(place)
        attention = module("main.15" if xception else "main.8")
        if f"{attention}.SE_opr.1.weight" in keys:
            yield f"{ours}/se/squeeze", f"{attention}.SE_opr.1"
            yield f"{ours}/se/excite", f"{attention}.SE_opr.4"


_MEGVII_BRANCHES = {name: f"branch_{name}" for name in ("main", "main_1", "main_2", "proj")}
_MEGVII = {"conv1": "first_conv.0", "linear": "classifier.0"}
_MEGVII_V2 = {**_MEGVII, "conv5": "conv_last.0"}
_PLUS = {**_MEGVII_V2, "last_se/squeeze": "LastSE.SE_opr.1", "last_se/excite": "LastSE.SE_opr.4", "fc": "fc.0"}
TORCHVISION = Layout(
    "torchvision",
    "v2",
    {"conv1": "conv1.0", "conv5": "conv5.0", "linear": "fc"},
    "stage{stage}.{block}",
    {"main": "branch2", "proj": "branch1"},
)
_FLAT = "features.{index}"
LAYOUTS = {  # by a key that identifies them; V2+ also has V2's
    "stage2.0.branch1.0.weight": TORCHVISION,
    # nn.Sequential(*model.children()) numbers the modules; number 1 is the max pooling, which has no weights.
    "2.0.branch1.0.weight": dataclasses.replace(
        TORCHVISION, names={"conv1": "0.0", "conv5": "5.0", "linear": "fc"}, block="{stage}.{block}"
    ),
    "LastSE.SE_opr.1.weight": Layout("megvii", "v2_plus", _PLUS, _FLAT, _MEGVII_BRANCHES, 1, (4, 4, 8, 4)),
    "features.0.branch_main_1.0.weight": Layout("megvii", "v1", _MEGVII, _FLAT, _MEGVII_BRANCHES),
    "features.0.branch_main.0.weight": Layout("megvii", "v2", _MEGVII_V2, _FLAT, _MEGVII_BRANCHES),
}

_NORM = {"gamma": "weight", "beta": "bias", "mean/EMA": "running_mean", "variance/EMA": "running_var"}
_DENSE = ("linear", "fc")


def _normalization(ours: str, theirs: str, family: str) -> tuple[str, str] | None:
    """Returns both names of the normalization after a layer; with an activation, tensorpack's is inside the convolution."""
    name = ours.rsplit("/", 1)[-1]
    if name in _DENSE or name == "excite":
        return None
    alone = "dconv" in name or (family == "v1" and name == "conv2")
    prefix, index = theirs.rsplit(".", 1)
    return f"{ours}{'_bn' if alone else '/bn'}", f"{prefix}.{int(index) + 1}"


def _kernel_axes(ours: str) -> tuple[int, ...]:
    """Returns the transposition from PyTorch's order (output first) to TensorFlow's."""
    name = ours.rsplit("/", 1)[-1]
    if name in _DENSE:
        return (1, 0)
    return (2, 3, 0, 1) if "dconv" in name else (2, 3, 1, 0)


_COUNTERS = ("num_batches_tracked", "total_ops", "total_params")  # of batch normalization, and of the profiler thop


@dataclasses.dataclass(frozen=True)
class Match:
    """The position of a known network's tensors in a file.

    Attributes:
      layout: layout of their names.
      prefix: prefix of all their names, such as "state_dict.module.".
      others: prefixes of other networks in the file that are as complete, such as averaged weights.
    """

    layout: Layout
    prefix: str
    others: tuple[str, ...]


class _Under:
    """The names that follow a prefix, without a copy of them."""

    def __init__(self, names: Container[str], prefix: str):
        self.names, self.prefix = names, prefix

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self.names


def find(tensors: Tensors) -> Match | None:
    """Finds a known network in a file, inside any dicts and with any prefix that a wrapper has added to its names.

    Returns:
      The match with the most tensors of the right rank. Among equal matches, "state_dict" comes first and averaged weights
      ("ema") come last. None: there is no known network.
    """
    names = dict.fromkeys([*tensors.shapes, *tensors.unreadable])
    matches: list[tuple[int, Layout, str]] = []
    for key, layout in LAYOUTS.items():
        prefixes = [name.removesuffix(key) for name in names if name == key or name.endswith(f".{key}")]
        for prefix in prefixes:
            matches.append((_tensors_that_fit(layout, prefix, tensors), layout, prefix))
    most = max((count for count, *_ in matches), default=0)
    best = [(layout, prefix) for count, layout, prefix in matches if count == most]
    if not best:
        return None
    best.sort(key=lambda match: ("ema" in match[1].lower(), not match[1].startswith("state_dict.")))
    layout, prefix = best[0]
    return Match(layout, prefix, tuple(other for _, other in best[1:]))


def _tensors_that_fit(layout: Layout, prefix: str, tensors: Tensors) -> int:
    """Returns the number of layers of a layout that have a kernel of the right rank under a prefix."""
    count = 0
    for ours, theirs in layout.modules(_Under(tensors.shapes, prefix)):
        name = f"{prefix}{theirs}.weight"
        shape = tensors.shapes.get(name)
        count += name in tensors.unreadable if shape is None else len(shape) == len(_kernel_axes(ours))
    return count


def to_canonical(match: Match, tensors: Tensors, source: str) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Returns the tensors of a PyTorch state dict under our names and in TensorFlow's order of axes.

    Normalizations that were folded into convolutions are replaced by normalizations that only add the bias. A classifier
    whose structure differs from the layout's is left out.

    Returns:
      The arrays, and the names of the other tensors, which belong to no known layer: another classifier, a loss.

    Raises:
      UserError: a tensor is missing, has another rank, or belongs to no layer; the message names the first one.
    """
    layout, prefix = match.layout, match.prefix
    names = [name for name in tensors.shapes if name.startswith(prefix)]
    rest = {name.removeprefix(prefix): name for name in names if not name.endswith(_COUNTERS)}
    arrays = {}
    title = f"ShuffleNet {layout.family.upper().replace('_PLUS', '+')} of {layout.source}"

    def take(key: str, rank: int) -> np.ndarray:
        if kind := tensors.unreadable.get(prefix + key):
            remedy = "is not read: give the float weights from before quantization or conversion."
            raise UserError(f"{source} has a {prefix}{key} that is {kind}, which {remedy}")
        if key not in rest:
            raise UserError(f"{source} has no {prefix}{key}, which every {title} has: it is incomplete.")
        array = tensors[rest.pop(key)]
        if array.ndim != rank:
            raise UserError(
                f"{source} has {prefix}{key} of shape {array.shape}, where {rank} axes are expected: it is damaged."
            )
        return array

    modules = dict(layout.modules(rest))
    classifier = modules.pop("linear")
    trunk = {theirs.split(".")[0] for theirs in modules.values()}
    if len(tensors.shapes.get(f"{prefix}{classifier}.weight", ())) == 2:
        modules["linear"] = classifier
    for ours, theirs in modules.items():
        axes = _kernel_axes(ours)
        arrays[f"{ours}/W"] = take(f"{theirs}.weight", len(axes)).transpose(axes)
        norm = _normalization(ours, theirs, layout.family)
        if norm is None:
            if f"{theirs}.bias" in rest:
                arrays[f"{ours}/b"] = take(f"{theirs}.bias", 1)
        elif f"{theirs}.bias" in rest:
            arrays |= _bias_alone(norm[0], take(f"{theirs}.bias", 1))
        else:
            arrays |= {f"{norm[0]}/{leaf}": take(f"{norm[1]}.{name}", 1) for leaf, name in _NORM.items()}
    if foreign := sorted(key for key in rest if key.split(".")[0] in trunk):
        raise UserError(f"{source} has {prefix}{foreign[0]}, which no {title} has: it is another network.")
    return arrays, (*rest.values(), *_classifiers_elsewhere(tensors, prefix, arrays))


def _bias_alone(name: str, bias: np.ndarray) -> dict[str, np.ndarray]:
    """Returns a normalization that only adds a bias."""
    ones = np.ones_like(bias)
    arrays = {f"{name}/gamma": ones, f"{name}/beta": bias}
    return arrays | {f"{name}/mean/EMA": 0 * ones, f"{name}/variance/EMA": ones - np.float32(EPSILON)}


def _classifiers_elsewhere(tensors: Tensors, prefix: str, arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Returns the dense kernels outside of `prefix` that fit the network's features, if it has no classifier."""
    if "linear/W" in arrays or "conv5/W" not in arrays or not prefix:
        return []
    features = arrays["conv5/W"].shape[-1]
    shapes = tensors.shapes.items()
    return [name for name, shape in shapes if shape[1:] == (features,) and not name.startswith(prefix)]


def to_torchvision(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the tensors of a ShuffleNet V2 with torchvision's wiring as the state dict that torchvision's model loads.

    Raises:
      UserError: it is another network.
    """
    state, rest = {}, dict(arrays)
    try:
        for ours, theirs in TORCHVISION.modules(set()):
            back = np.argsort(_kernel_axes(ours))
            state[f"{theirs}.weight"] = np.ascontiguousarray(rest.pop(f"{ours}/W").transpose(back))
            if norm := _normalization(ours, theirs, "v2"):
                state |= {f"{norm[1]}.{name}": rest.pop(f"{norm[0]}/{leaf}") for leaf, name in _NORM.items()}
                state[f"{norm[1]}.num_batches_tracked"] = np.zeros((), np.int64)
            else:
                state[f"{theirs}.bias"] = rest.pop(f"{ours}/b")
    except KeyError as error:
        raise UserError(f"The network has no {error}, so it isn't torchvision's ShuffleNet V2: give one.") from None
    if rest:
        raise UserError(f"The network has {min(rest)}, so it isn't torchvision's ShuffleNet V2: give one.")
    return state
