"""Where images come from: one flag, three kinds of sources."""

import dataclasses
import difflib
import os
from typing import TYPE_CHECKING, Any

from shufflenet_tf.data.source import Source, Split
from shufflenet_tf.errors import UserError

if TYPE_CHECKING:
    from shufflenet_tf.data.cache import Cache

__all__ = ["Source", "Split", "open_source"]

_KINDS = ("shapes", "shapes/tiny", "tfds:NAME", "folder:PATH")


def open_source(
    spec: str,
    *,
    data_dir: str | None = None,
    seed: int = 0,
    strict: bool = False,
    validation: float = 0.0,
    fold: tuple[int, int] | None = None,
    keep_copies: bool = False,
    cache: str = "auto",
    service: str | None = None,
) -> Source:
    """Opens the dataset that `spec` names.

    Args:
      spec: "shapes" (embedded, drawn on first use; "shapes/tiny": 300 images of it), "tfds:NAME" (anything in TensorFlow
        Datasets), or "folder:PATH" or an existing folder (PATH/train/<class>/* with PATH/test or PATH/val, or just
        PATH/<class>/*).
      data_dir: where TFDS datasets are prepared; None: TFDS's default.
      seed: of a folder's division in train and test.
      strict: stop at a file that can't be used instead of skipping it.
      validation: share of the training images that is set aside for validation, from 0 (none) to below 1. Validation images
        that a dataset has besides its test images are taken instead.
      fold: (number, folds): of a folder, the part that is tested on in cross-validation; see `open_folder`.
      keep_copies: of a folder: let copies of a photo be on both sides of the split.
      cache: where the dataset's files are kept once they are read; see `Cache`.
      service: address of a tf.data service that makes the training batches, grpc://HOST:PORT.

    Raises:
      UserError: an unknown kind of dataset, or one that can't be opened.
    """
    if not 0 <= validation < 1:
        raise UserError(f"validation is {validation}, but a share from 0 to below 1 was expected: give 0.1, for example.")
    from shufflenet_tf.data.cache import Cache

    keeping = {"cache": Cache(cache), "service": service}
    if service:
        from shufflenet_tf.data import service as services

        services.check(service)
    options = {"seed": seed, "strict": strict, "validation": validation, "fold": fold, "keep_copies": keep_copies}
    return dataclasses.replace(_opened(spec, data_dir, options, keeping), spec=spec, keep_copies=keep_copies)


def _opened(spec: str, data_dir: str | None, options: dict[str, Any], keeping: "dict[str, Cache | str | None]") -> Source:
    """Opens a dataset; the `options` are those of `open_folder`; for `keeping`, see `open_source`."""
    kind, _, rest = spec.partition(":")
    if not rest and os.path.isdir(spec):
        kind, rest = "folder", spec
    if kind == "folder" and rest:
        from shufflenet_tf.data.folder import open_folder

        return open_folder(rest, **options, **keeping)
    if options["fold"]:
        raise UserError(f"{spec} can't be divided into folds: give a folder of photos, --dataset=folder:PATH, or no --folds.")
    if kind == "tfds" and rest:
        from shufflenet_tf.data.tfds_source import open_tfds

        return open_tfds(rest, data_dir, options["validation"], **keeping)
    if spec in ("shapes", "shapes/tiny"):
        from shufflenet_tf.data import shapes
        from shufflenet_tf.data.tfds_source import from_builder

        builder = shapes.prepare(data_dir, config=spec.partition("/")[2] or None)
        return from_builder(builder, trusted=True, validation=options["validation"], **keeping)
    near = difflib.get_close_matches(spec, _KINDS, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"it can be {', '.join(_KINDS)}."
    raise UserError(f"There is no dataset {spec!r}: {hint}")
