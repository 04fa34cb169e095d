"""How to train on given photos: what an expert would choose from their number, their classes, and what the model may cost.

`choose` is a pure function of numbers, so that the same photos always get the same settings. What a person gives wins.
"""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from shufflenet_tf.errors import UserError

PHONE = "phone"  # the default target of the export


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a network's int8 file costs at 224 px with 1,000 classes.

    Attributes:
      milliseconds: by target, as the export's cost model predicts.
      megabytes: of the file.
    """

    milliseconds: Mapping[str, float]
    megabytes: float


# From `export.pipeline.finish` for each target; tests/training/test_choices.py compares. The most accurate network is last.
COSTS = {
    "shufflenet_v2_0.5x": Cost({"phone": 2.0, "phone_old": 5.4}, 1.6),
    "shufflenet_v2_1.0x": Cost({"phone": 4.2, "phone_old": 13.9}, 2.7),
    "shufflenet_v2_1.5x": Cost({"phone": 6.8, "phone_old": 24.1}, 4.0),
    "shufflenet_v2_2.0x": Cost({"phone": 11.6, "phone_old": 45.2}, 8.0),
}
_SIZE = 224
_TRAINED_SIZE = 256  # without a budget: see `_rates`
_SMALLER_SIZES = (192, 160, 128)  # for a budget that the smallest network is over at 224 px
_SCRATCH_SIZE = 128
_UNEQUAL = 3  # ratio of the largest to the smallest class from which on rare ones are balanced


@dataclasses.dataclass(frozen=True)
class Photos:
    """What is known of the training images.

    Attributes:
      counts: number of training images of each class.
      trained: whether the training starts with trained weights.
      network: the network of these weights, or the one that a person wants; None: it is to be chosen.
    """

    counts: Sequence[int]
    trained: bool
    network: str | None = None

    @property
    def images(self) -> int:
        return sum(self.counts)


def choose(photos: Photos, budget: str | None = None, target: str = PHONE) -> tuple[dict[str, Any], list[str]]:
    """Chooses how to train.

    Args:
      photos: the training images.
      budget: what the int8 model may cost, such as "8ms" on `target` or "3MB"; None: anything.
      target: the processor that the milliseconds are for.

    Returns:
      Options of `shufflenet_tf.train` by name, and sentences that give the reasons.

    Raises:
      UserError: no network is within the budget, or the budget can't be read.
    """
    network, size, reasons = _network(photos, budget, target)
    options = {"network": network, "image_size": size, **_batch(photos), **_length(photos), **_rates(photos)}
    options |= _augmentation(photos)
    smallest, largest = min(photos.counts), max(photos.counts)
    if largest >= _UNEQUAL * max(smallest, 1):
        options["balance"] = True
        reasons.append(f"the largest class has {largest:,} photos and the smallest {smallest:,}: rare classes count as much")
    if smallest < 20:
        reasons.append(f"the smallest class has {smallest} photos to train on: with some 50 of each, results are much better")
    return options, reasons


def _network(photos: Photos, budget: str | None, target: str) -> tuple[str, int, list[str]]:
    size = (_TRAINED_SIZE if budget is None else _SIZE) if photos.trained else _SCRATCH_SIZE
    preferred = "shufflenet_v2_0.5x" if not photos.trained and photos.images < 20_000 else "shufflenet_v2_1.0x"
    if budget is None:
        return photos.network or preferred, size, []
    limit, unit = _budget(budget, target)

    def cost(name: str, side: int) -> float:
        # Convolutions are nearly all of the time, and their pixels grow with the area.
        return COSTS[name].megabytes if unit == "MB" else COSTS[name].milliseconds[target] * (side / _SIZE) ** 2

    if photos.network:
        if photos.network not in COSTS:
            return photos.network, size, [f"what {photos.network} costs is only known after its export"]
        within = "within" if cost(photos.network, size) <= limit else "over"
        figure = f"{cost(photos.network, size):.1f} {unit}"
        return photos.network, size, [f"{photos.network}, which was given, is {within} the budget with about {figure}"]
    sizes = [size, *(side for side in _SMALLER_SIZES if side < size)]
    for side in sizes:
        fitting = [name for name in COSTS if cost(name, side) <= limit]
        if fitting:
            name = fitting[-1]
            return name, side, [f"{name} at {side} px is the best one within {budget}: {cost(name, side):.1f} {unit}"]
    least = min(cost(name, sizes[-1]) for name in COSTS)
    raise UserError(f"--budget={budget} is less than any network costs: give {math.ceil(least * 10) / 10:g}{unit} or more.")


def _budget(text: str, target: str) -> tuple[float, str]:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|MB)\s*", text, re.IGNORECASE)
    if not match or float(match[1]) <= 0:
        raise UserError(f"--budget={text} can't be read: give milliseconds on the target or megabytes, such as 8ms or 3MB.")
    unit = "ms" if match[2].lower() == "ms" else "MB"
    known = next(iter(COSTS.values())).milliseconds
    if unit == "ms" and target not in known:
        raise UserError(
            f"What networks take on the target {target} isn't known before the export, only on {' and '.join(known)}: give "
            "--budget in MB, or --network."
        )
    return float(match[1]), unit


def _batch(photos: Photos) -> dict[str, Any]:
    """At least four steps an epoch, so that a few photos make more than one."""
    fitting = 2 ** int(math.log2(max(4, photos.images / 4)))
    return {"batch_size": min(32, fitting, max(1, photos.images))}


def _length(photos: Photos) -> dict[str, Any]:
    """Few photos are seen more often; from scratch, many times more often."""
    seen, least, most = (4_000, 6, 40) if photos.trained else (65_000, 20, 150)
    epochs = max(least, min(most, round(seen / max(photos.images, 1))))
    return {"epochs": float(epochs), "patience": max(6, epochs // 2)}


def _rates(photos: Photos) -> dict[str, Any]:
    batch = _batch(photos)["batch_size"]
    common = {"schedule": "cosine", "label_smoothing": 0.1}
    if photos.trained:
        # Photos that are unlike the training photos are known best by layers that have changed little, and networks do best at
        # larger images than they were trained on (Touvron et al. 2019): docs/photos.md has the figures.
        towards = {"interpolate": True, "first_size": 0.75, "growth": 0.0}
        rate = {"learning_rate": 0.02 * batch / 32, "weight_decay": 4e-5, "warmup_steps": 20}
        return {**common, **rate, **towards, "ema": 0.98}
    rate = {"learning_rate": 0.08 * batch / 32, "weight_decay": 1e-3, "warmup_steps": 50}
    return {**common, **rate, "first_size": 0.5, "ema": 0.99}


def _augmentation(photos: Photos) -> dict[str, Any]:
    common = {"jitter": 0.3, "lighting": 0.0, "min_area": 0.25}
    return {**common, **({"trivial_augment": True} if photos.trained else {"mixup": 0.2, "cutmix": 1.0})}
