"""What a run will do, settled before it begins: the dataset, the network, and every option, given or chosen."""

import dataclasses
import functools
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from shufflenet_tf import loading, options
from shufflenet_tf.data import Source, open_source
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.data.source import class_counts
from shufflenet_tf.errors import UserError
from shufflenet_tf.models import registry
from shufflenet_tf.models.image_classifier import MIN_SIZE
from shufflenet_tf.training import choices, folds
from shufflenet_tf.training.settings import NETWORK, RunOptions, Settings
from shufflenet_tf.weights import published

SIZE = 224  # pixels, where nothing else says which
Size = tuple[int, int]
_RECORDS = (RunOptions, Settings, Augmentation)


@dataclasses.dataclass(frozen=True)
class Plan:
    """A run, ready to begin.

    Attributes:
      source: the dataset, opened.
      network: the registered name of the network.
      checkpoint: the weights that it starts with; None: random ones.
      size: height and width of its input in pixels.
      run, settings, augmentation: all options.
    """

    source: Source
    network: str
    checkpoint: published.Checkpoint | None
    size: Size
    run: RunOptions
    settings: Settings
    augmentation: Augmentation

    def flags(self, steps: int = 0) -> list[str]:
        """Returns the flags of train_main.py that give the same model under --deterministic.

        Args:
          steps: that the run has had, where that was settled while it ran; 0: as the settings say.
        """
        settings = dataclasses.replace(self.settings, minutes=0.0, weights=self.run.weights or "")
        settings = dataclasses.replace(settings, steps=steps) if steps else settings
        run = dataclasses.replace(self.run, choose=False, budget=None, overwrite=False, network=self.network, data_service=None)
        size = f"{self.size[0]}" if self.size[0] == self.size[1] else f"{self.size[0]},{self.size[1]}"
        flags = [f"--dataset={self.source.spec}", f"--image_size={size}"]
        for record in (run, settings, self.augmentation):
            for field in dataclasses.fields(record):
                value = getattr(record, field.name)
                if field.metadata and value != field.default:
                    flags.append(
                        f"--{'' if value else 'no'}{field.name}" if isinstance(value, bool) else f"--{field.name}={value}"
                    )
        return flags

    def command(self, steps: int = 0) -> str:
        """Returns the command line of `flags`."""
        return shlex.join(["python", "train_main.py", *self.flags(steps)])


def settle(dataset: str, image_size: int | Sequence[int | str] | None, given: Mapping[str, Any]) -> Plan:
    """Settles a run.

    Args:
      dataset: see `open_source`.
      image_size: see `checked_size`; None: 224, or to be chosen.
      given: options by name; with choose=True those that are missing are chosen, else they have their defaults.

    Raises:
      UserError: an unknown name, an option out of range, weights or images that can't be used.
    """
    run, settings, augmentation = _records(given)
    size = checked_size(SIZE if image_size is None else image_size)
    if run.network:
        registry.check(run.network)
    if run.choose and run.weights == "imagenet" and run.network is None:
        # Which of torchvision's networks to download depends on the budget alone.
        run = dataclasses.replace(run, network=_for_any_photos(run)["network"])
    places = {"data_dir": run.data_dir, "strict": run.strict, "keep_copies": run.keep_copies}
    places |= {"cache": run.cache, "service": run.data_service}
    # Without the seed, as a run with another one, or the export, must not test on images that this one trains on.
    opened = functools.partial(open_source, dataset, **places, validation=settings.validation, fold=folds.parsed(run.fold))
    source = opened() if run.weights == "imagenet" else None  # a folder that can't be used should not cost a download
    network, checkpoint = _network(run)
    source = source or opened()
    folds.check(run.folds, source)
    if run.choose:
        known = network if run.network or checkpoint else None
        photos = choices.Photos(class_counts(source.train, len(source.labels)), checkpoint is not None, known)
        chosen, reasons = choices.choose(photos, run.budget, run.target)
        side = chosen.pop("image_size")
        size = checked_size(side) if image_size is None else size
        run, settings, augmentation = _records({**chosen, **given, "network": known or chosen["network"]})
        network = run.network or network
        print("".join(f"Chosen: {reason}.\n" for reason in reasons), end="", flush=True)
    plan = Plan(source, network, checkpoint, size, run, settings, augmentation)
    if run.choose:
        print(f"These flags do the same:\n  {plan.command()}", flush=True)
    return plan


def expected_size(image_size: int | Sequence[int | str] | None, given: Mapping[str, Any]) -> Size:
    """Returns height and width in pixels that `settle` settles on for most datasets; its arguments and what it raises."""
    run = _records(given)[0]
    if image_size is None:
        return checked_size(_for_any_photos(run)["image_size"] if run.choose else SIZE)
    return checked_size(image_size)


def _for_any_photos(run: RunOptions) -> dict[str, Any]:
    """Returns what is chosen, whatever the photos are."""
    return choices.choose(choices.Photos([100], bool(run.weights)), run.budget, run.target)[0]


def checked_size(sides: int | Sequence[int | str]) -> Size:
    """Returns height and width in pixels of one side or two, which may be text.

    Raises:
      UserError: they are none, or too small.
    """
    given = [sides] if isinstance(sides, int) else list(sides)
    numbers = [int(side) if str(side).isdigit() else 0 for side in given]
    if len(numbers) not in (1, 2) or min(numbers) < MIN_SIZE:
        text = ",".join(map(str, given))
        raise UserError(f"--image_size={text} can't be used: give a side, or height,width, of {MIN_SIZE} px or more.")
    return numbers[0], numbers[-1]


def _records(given: Mapping[str, Any]) -> tuple[RunOptions, Settings, Augmentation]:
    """Returns the options as records; the settings keep the path of the weights for the record."""
    weights = None if given.get("weights") == "none" else given.get("weights")
    run, settings, augmentation = options.split({**given, "weights": weights}, *_RECORDS)
    return RunOptions(**run), Settings(**{**settings, "weights": run.get("weights") or ""}), Augmentation(**augmentation)


def _network(run: RunOptions) -> tuple[str, published.Checkpoint | None]:
    """Returns the network's name and the weights that it starts with."""
    if not run.weights:
        return run.network or NETWORK, None
    if run.weights == "imagenet":
        return run.network or NETWORK, _imagenet(run.network or NETWORK)
    checkpoint = loading.checkpoint(run.weights)
    name = registry.identify(checkpoint)
    if run.preprocessing is None:
        checkpoint = checkpoint.at_unit_scale()
    if run.network not in (None, name):
        raise UserError(
            f"{run.weights} is a {name} and no {run.network}: give no --network, or --network={name} after a flag file."
        )
    return name, checkpoint


def _imagenet(network: str) -> published.Checkpoint:
    try:
        return published.find("imagenet", network)
    except UserError as error:
        text = str(error).rstrip(".")
        raise UserError(
            f"{text}, or give --weights=FILE for weights that you have, or --weights=none to train from scratch."
        ) from None
