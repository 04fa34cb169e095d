"""The text of a model card, as the Hugging Face Hub shows it: a header for machines, then what people ask."""

import json
import re
from collections.abc import Sequence
from typing import Any

from shufflenet_tf.evaluation.intervals import of_share, with_interval
from shufflenet_tf.origin import LICENCES
from shufflenet_tf.sharing import usage
from shufflenet_tf.sharing.facts import Facts
from shufflenet_tf.training import folds

CLASSES = 30  # whose figures are listed
FEW = 20  # test images of a class below which its figures say little
UNKNOWN = "unknown"  # the Hub's word for a licence that nobody has stated


def text(facts: Facts, name: str, licence: str | None = None, pictures: Sequence[str] = ()) -> str:
    """Returns a model card.

    Args:
      facts: of the run.
      name: USER/NAME on the Hub.
      licence: that the model is shared under, as the Hub names it; None: that of the weights it started from, or unknown.
      pictures: names of pictures in the card's folder.
    """
    chosen = licence or licence_of(facts)
    parts = [_header(facts, name, chosen), _about(facts, name), _figures(facts), _classes(facts)]
    if pictures:
        parts.append("\n".join(f"![{file.rpartition('.')[0]}]({file})" for file in pictures))
    parts += [_data(facts), _limits(facts), _licence(facts, chosen), usage.text(facts, name)]
    return "\n\n".join(parts) + "\n"


def licence_of(facts: Facts) -> str:
    """Returns the licence of the weights that a run started from, as the Hub names it, or "unknown"."""
    known = LICENCES.get((facts.started_from or {}).get("source", ""))
    return known.id if known else UNKNOWN


def _header(facts: Facts, name: str, licence: str) -> str:
    """YAML, whose strings are written as JSON's, which are YAML's too."""
    images = str(facts.metrics.get("dataset", UNKNOWN))
    dataset = {"type": re.sub(r"[^\w.-]+", "-", images), "name": images}
    metric = {"type": "accuracy", "value": round(facts.test["top1"], 4), "name": "top-1"}
    task = {"type": "image-classification", "name": "Image classification"}
    result = {"task": task, "dataset": dataset, "metrics": [metric]}
    fields: dict[str, Any] = {
        "license": licence,
        "library_name": "keras",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "shufflenet", "tensorflow", *(["tflite", "litert"] if facts.files else [])],
        "metrics": ["accuracy"],
        "model-index": [{"name": name.rpartition("/")[2], "results": [result]}],
    }
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()]
    return "\n".join(["---", *lines, "---"])


def _about(facts: Facts, name: str) -> str:
    height, width = facts.model.input_shape[1:3]
    parameters, adds = facts.metrics.get("parameters"), facts.metrics.get("multiply_adds")
    size = (
        f" It has {parameters:,} parameters and takes {adds / 1e6:,.1f} million multiply-adds." if parameters and adds else ""
    )
    return (
        f"# {name.rpartition('/')[2]}\n\n{facts.model.name}, an image classifier for {len(facts.test['labels'])} classes, on "
        f"images of {height}x{width} pixels.{size} **Top-1 on {facts.test['examples']:,} test images: {facts.accuracy}.**\n\n"
        "Figures in brackets are intervals of 95 % confidence."
    )


def _figures(facts: Facts) -> str:
    rows = ["| file | MB | top-1 | same answer as Keras |", "|---|---|---|---|", f"| `model.keras` | | {facts.accuracy} | |"]
    for file in facts.files:
        same = of_share(file.agreement, facts.images)
        rows.append(f"| `{file.path.name}` | {file.size / 1e6:.2f} | {of_share(file.top1, facts.images)} | {same} |")
    lines = ["## How good it is", "", *rows, ""]
    if facts.files and facts.images:
        lines.append(f"The .tflite files were measured on {facts.images:,} images.")
    if "top5" in facts.test:
        lines.append(f"Top-5 is {facts.test['top5']:.1%}.")
    if facts.test.get("expected_calibration_error") is not None:
        lines.append(f"The calibration error is {facts.test['expected_calibration_error']:.1%}.")
    if folds.KEY in facts.metrics:
        lines.append(f"Cross-validation: {folds.text(facts.metrics[folds.KEY])}")
    return "\n".join(lines)


def _classes(facts: Facts) -> str:
    rows = facts.test["per_class"]
    listed = sorted(rows, key=lambda row: row["recall"])[:CLASSES] if len(rows) > CLASSES else rows
    lines = ["| class | found | right when named | test images |", "|---|---|---|---|"]
    for row in listed:
        found = with_interval(round(row["recall"] * row["support"]), row["support"], 0)
        lines.append(f"| {_cell(row['label'])} | {found} | {row['precision']:.0%} | {row['support']:,} |")
    if len(listed) < len(rows):
        lines.append(f"\nThese are the {len(listed)} classes of {len(rows)} that are found least often.")
    pairs = [f"{true} taken for {other} ({count:,})" for true, other, count in facts.confused]
    lines.append(f"\nMost often confused: {', '.join(map(_cell, pairs))}." if pairs else "\nNo test image was confused.")
    return "\n".join(lines)


def _data(facts: Facts) -> str:
    metrics = facts.metrics
    counts = [
        (metrics.get("training_images"), "to train on"),
        (metrics.get("validation_images"), "to choose the best epoch on"),
        (facts.test["examples"], "to test on"),
    ]
    split = ", ".join(f"{count:,} {purpose}" for count, purpose in counts if count)
    return f"## Data\n\nDataset `{metrics.get('dataset', UNKNOWN)}`: images {split}. No image is in two of these parts."


def _limits(facts: Facts) -> str:
    lines = ["## Limits", ""]
    certainty = facts.metrics.get("certainty") or {}
    if certainty.get("threshold"):
        lines.append(
            f'- Where no class reaches {certainty["threshold"]:.0%}, the answer should be "not sure". Photos of other things '
            "can reach it all the same."
        )
        if certainty.get("none") is not None:
            lines.append(
                "- The sum of the probabilities is below 1: what is missing is the probability of none of the classes."
            )
    else:
        lines.append("- It knows nothing but its classes, and gives one of them for a photo of anything else.")
    lines.append(
        "- The test images come from the same source as the training images. How good it is with other cameras, places and "
        "seasons was not measured."
    )
    if few := [row["label"] for row in facts.test["per_class"] if row["support"] < FEW]:
        some = ", ".join(map(_cell, few[:8])) + (", …" if len(few) > 8 else "")
        classes = "1 class has" if len(few) == 1 else f"{len(few)} classes have"
        lines.append(f"- {classes} fewer than {FEW} test images, which say little about a class: {some}.")
    return "\n".join(lines)


def _licence(facts: Facts, licence: str) -> str:
    source = (facts.started_from or {}).get("source", "")
    weights = (facts.started_from or {}).get("weights", "")
    if known := LICENCES.get(source):
        origin = (
            f"Training started from {known.owner}'s weights of ImageNet-1k (`{weights}`), published under {known.name}: "
            f"{known.where}."
        )
    elif facts.started_from is None:
        origin = "Training started from random weights."
    elif source == "hub":
        origin = f"Training started from `{weights}` on the Hub; its licence is stated there."
    elif source == UNKNOWN:
        origin = f"Training started from weights (`{weights}`) whose origin and licence are unknown."
    else:
        origin = "The run did not record which weights it started from, if any."
    stated = f"This model: {licence}." if licence != UNKNOWN else "No licence is stated for this model: ask before you use it."
    return (
        f"## Licence\n\n{stated} {origin}\n\nIt was made with ShuffleNet for TensorFlow, whose code is under Apache-2.0; the "
        "architecture is Zhang et al.'s (2017) and Ma et al.'s (2018)."
    )


def _cell(label: str) -> str:
    """A label that breaks neither a table nor the text."""
    return " ".join(label.split()).replace("|", "\\|").replace("`", "'").replace("<", "&lt;")
