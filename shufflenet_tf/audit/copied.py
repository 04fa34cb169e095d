"""Findings about photos that show the same picture, or the same scene."""

from collections.abc import Mapping, Sequence

from shufflenet_tf.audit.records import COPY, COPY_ACROSS, COPY_IN_CLASSES, SCENE, Finding
from shufflenet_tf.data import copies


def findings(
    paths: Sequence[str],
    pairs: Sequence[copies.Copy],
    groups: Sequence[int],
    labels: Mapping[str, str],
    sides: Mapping[str, str],
) -> list[Finding]:
    """Returns a finding for each photo that is a copy of another, and for each that shows a scene again.

    Args:
      paths: of all photos.
      pairs: of alike photos, from two shots of one scene on.
      groups: of each photo, which has those of one picture.
      labels, sides: by path.
    """
    members: dict[int, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    likeness = {(pair.first, pair.second): pair for pair in pairs}
    result = []
    for group in members.values():
        # The original is a training photo, if there is one, as that is what the others must not be tested on.
        first, *others = sorted(group, key=lambda index: (sides[paths[index]] not in ("", "train"), index))
        for index in others:
            pair = likeness.get((min(first, index), max(first, index)))
            result.append(_copy(paths[index], paths[first], pair, labels, sides))
    seen = set()
    for pair in sorted(pairs, key=lambda pair: -pair.likeness):
        a, b = paths[pair.first], paths[pair.second]
        if pair.likeness >= copies.COPY or b in seen:
            continue
        seen.add(b)
        across = sides[a] != sides[b]
        text = f"alike to {pair.likeness:.0%}{', across the split' if across else ''}{_in_classes(a, b, labels)}"
        result.append(Finding(SCENE, b, pair.likeness, text, a))
    return result


def _copy(path: str, original: str, pair: copies.Copy | None, labels: Mapping[str, str], sides: Mapping[str, str]) -> Finding:
    score = pair.likeness if pair else copies.COPY
    text = "the same pixels" if score == 1 else f"alike to {score:.1%}" if pair else "a copy of a copy"
    text += ", mirrored" if pair and pair.mirrored else ""
    kind = COPY
    if sides[path] != sides[original]:
        kind, text = COPY_ACROSS, f"{text}, {sides[path]} and {sides[original]}"
    elif labels[path] != labels[original]:
        kind = COPY_IN_CLASSES
    return Finding(kind, path, score, text + _in_classes(path, original, labels), original)


def _in_classes(path: str, other: str, labels: Mapping[str, str]) -> str:
    return f", in {labels[path]} and in {labels[other]}" if labels[path] != labels[other] else ""
