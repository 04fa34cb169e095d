"""The audit of a folder of photos: everything is looked at once, nothing is changed."""

import os
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from shufflenet_tf.audit import copied, features, looking, quality, turned
from shufflenet_tf.audit import labels as label_judge
from shufflenet_tf.audit.records import (
    KINDS,
    TURNED,
    UNREADABLE,
    WRONG_CLASS,
    Audit,
    ClassSummary,
    Confusion,
    Finding,
)
from shufflenet_tf.data import copies, folder_layout
from shufflenet_tf.errors import UserError

FEW = 20  # training photos of a class
_MUCH_FEWER = 0.1  # of the largest class
_ORDER = {kind: place for place, kind in enumerate(KINDS)}


def audit_photos(
    path: str | os.PathLike,
    *,
    model: str | os.PathLike | None = None,
    weights: str | os.PathLike | None = None,
    seed: int = 0,
    log: Callable[[str], None] = print,
) -> Audit:
    """Looks for what is wrong with a folder of photos: copies, wrong classes, bad photos, classes that look alike.

    Args:
      path: the folder, as `open_folder` takes it: PATH/<class>/*, or PATH/train/<class>/* and PATH/test/<class>/*.
      model: a trained network whose features tell the classes apart, best one that has not seen these photos; its folder or
        file.
      weights: the same by a file of published weights, or "imagenet", which is downloaded once; with neither, weights for
        ImageNet that were downloaded before, or colours and textures alone.
      seed: of the division in folds.
      log: called with each line of progress.

    Returns:
      All findings; `write_page` and `write_table` write them down.

    Raises:
      UserError: there is no such folder, it has no classes, no photo can be read, or the network can't be used.
    """
    root = pathlib.Path(path).expanduser()
    _, files = folder_layout.list_folder(root, log)
    everything = _places(files)
    extractor = features.choose(model, weights)
    log(f"{len(everything):,} files in {len(files['train'])} classes, seen by {extractor.name}")
    order = np.random.default_rng(seed).permutation(len(everything))
    names = list(everything)
    sample = {names[index] for index in order[: turned.SAMPLE]} if extractor.is_network else set()
    seen = looking.look(names, extractor, sample, log)
    _check_some(seen, root)
    labels = {file: everything[file][0] for file in seen.paths}
    sides = {file: everything[file][1] for file in seen.paths}
    groups, found, notes = _copied(seen, labels, sides, log)
    found += [Finding(UNREADABLE, file, 1.0, reason) for file, reason in seen.unreadable.items()]
    bad, more = quality.judge(seen.measures)
    classes = sorted(files["train"])
    given = np.array([classes.index(labels[file]) for file in seen.paths])
    judgement = label_judge.judge(seen.features, given, groups, len(classes), seed)
    found += bad + _wrong(seen.paths, judgement, classes) + _turned(seen, extractor, groups)
    notes += more + _notes(seen)
    return Audit(
        path=root,
        labels=labels,
        sides=sides,
        findings=sorted(found, key=lambda finding: (_ORDER[finding.kind], -finding.score)),
        classes=_summaries(classes, labels, sides, judgement, groups),
        confusions=[Confusion(classes[a], classes[b], *others) for a, b, *others in judgement.alike()],
        suspicion=dict(zip(seen.paths, judgement.suspicion.tolist(), strict=True)),
        seen_by=extractor.name,
        notes=notes,
    )


def _places(files: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[str, tuple[str, str]]:
    """Returns {path: (label, side)}."""
    return {
        file: (label, side if len(files) > 1 else "")
        for side, classes in files.items()
        for label, names in classes.items()
        for file in names
    }


def _check_some(seen: looking.Seen, root: pathlib.Path) -> None:
    if not seen.paths:
        count, reason = len(seen.unreadable), next(iter(seen.unreadable.values()))
        raise UserError(f"None of {count} files in {root} can be read ({reason}): give JPEG, PNG, WebP, BMP or GIF files.")


def _copied(
    seen: looking.Seen, labels: Mapping[str, str], sides: Mapping[str, str], log: Callable[[str], None]
) -> tuple[list[int], list[Finding], list[str]]:
    """Returns the groups of copies, the findings, and notes."""
    count = len(seen.paths)
    if count > copies.MOST:
        return list(range(count)), [], [f"Copies were not looked for, as there are more than {copies.MOST:,} photos."]
    log(f"comparing {count:,} photos with each other")
    pairs = copies.find_copies(seen.prints, copies.SCENE)
    groups = copies.group(count, [pair for pair in pairs if pair.likeness >= copies.COPY])
    return groups, copied.findings(seen.paths, pairs, groups, labels, sides), []


def _wrong(paths: Sequence[str], judgement: label_judge.Judgement, classes: Sequence[str]) -> list[Finding]:
    findings = []
    for index in judgement.suspects.tolist():
        other = int(judgement.best_other[index])
        own, likely = judgement.own[index], judgement.probabilities[index, other]
        text = f"looks like {classes[other]} ({likely:.0%}) rather than {classes[judgement.given[index]]} ({own:.0%})"
        # Sure ones differ by how unlikely the own class is.
        score = float(1 - own / (own + likely))
        findings.append(Finding(WRONG_CLASS, paths[index], score, text, other_class=classes[other]))
    return findings


def _turned(seen: looking.Seen, extractor: features.Extractor, groups: Sequence[int]) -> list[Finding]:
    if not extractor.is_network:
        return []

    def closer(indices: list[int]) -> dict[int, np.ndarray]:
        found = looking.turned_features([seen.paths[index] for index in indices], extractor)
        return {index: found[seen.paths[index]] for index in indices if seen.paths[index] in found}

    return [
        Finding(TURNED, seen.paths[index], score, f"turn it by {degrees}° clockwise ({score:.0%})")
        for index, degrees, score in turned.find(seen.features, seen.turned, groups, closer)
    ]


def _notes(seen: looking.Seen) -> list[str]:
    count = seen.stored_turned
    text = (
        f"{count:,} photo{'s are' if count > 1 else ' is'} stored turned, as EXIF says: training and the apps turn them back."
    )
    return [text] if count else []


def _summaries(
    classes: Sequence[str],
    labels: Mapping[str, str],
    sides: Mapping[str, str],
    judgement: label_judge.Judgement,
    groups: Sequence[int],
) -> list[ClassSummary]:
    places = sorted(set(sides.values()), key=("", "train", "validation", "test").index)
    paths = list(labels)
    right = judgement.probabilities.argmax(1) == judgement.given
    members = {label: [index for index, path in enumerate(paths) if labels[path] == label] for label in classes}
    learned = {label: sum(sides[paths[index]] in ("", "train") for index in indices) for label, indices in members.items()}
    largest = max(learned.values())
    result = []
    for label, indices in members.items():
        photos = {place: sum(sides[paths[index]] == place for index in indices) for place in places}
        recognized = float(right[indices].mean()) if indices else None
        remark = ""
        if not indices:
            remark = "no photo can be read"
        elif len({groups[index] for index in indices}) == 1 and len(indices) > 1:
            remark, recognized = "all photos are copies of one", None
        elif learned[label] < FEW:
            remark = f"fewer than {FEW} photos to train on"
        elif learned[label] < _MUCH_FEWER * largest:
            remark = "less than a tenth of the largest class"
        result.append(ClassSummary(label, photos, recognized, remark))
    return result
