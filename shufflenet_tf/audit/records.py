"""What an audit finds, as data."""

import dataclasses
import pathlib

# Kinds of findings, in the order of the page.
COPY_ACROSS, COPY_IN_CLASSES, COPY, SCENE = "copy of a training photo", "copy in another class", "copy", "same scene"
WRONG_CLASS, TURNED, BLURRED, DARK, BRIGHT, EMPTY, TINY = (
    *("wrong class?", "turned?", "blurred", "dark", "overexposed", "one colour", "tiny"),
)
UNREADABLE = "unreadable"
KINDS = (
    *(COPY_ACROSS, COPY_IN_CLASSES, COPY, SCENE, WRONG_CLASS, TURNED),
    *(BLURRED, DARK, BRIGHT, EMPTY, TINY, UNREADABLE),
)


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something about a photo.

    Attributes:
      kind: one of `KINDS`.
      photo: the photo's path.
      score: how sure or how bad it is, from 0 to 1; the first of a kind is the worst.
      text: a few words for people.
      other: path of the photo that it is a copy of; "": none.
      other_class: the class that it looks like; "": none.
    """

    kind: str
    photo: str
    score: float
    text: str
    other: str = ""
    other_class: str = ""


@dataclasses.dataclass(frozen=True)
class ClassSummary:
    """A class: its label, its readable photos by side, and the share of them that look like it; None: not looked at."""

    label: str
    photos: dict[str, int]
    recognized: float | None
    remark: str = ""


@dataclasses.dataclass(frozen=True)
class Confusion:
    """Two classes that look alike: how many photos of the first look like the second, and the other way round."""

    first: str
    second: str
    first_as_second: int
    second_as_first: int
    share: float


@dataclasses.dataclass(frozen=True)
class Audit:
    """The result of an audit; nothing in the folder of photos is changed.

    Attributes:
      path: folder of the photos.
      labels: of all readable photos: {path: label}.
      sides: of all readable photos: {path: "train", "test", "validation"}; "" for all where the folder has no split.
      findings: all of them, by kind, each kind with the worst first.
      classes: in order of labels.
      confusions: classes that look alike, the most alike first.
      suspicion: {path: how much rather a photo looks like another class than like its own}, natural logarithm of the ratio of
        the probabilities; empty where nothing could be said.
      seen_by: what looked at the photos, for people.
      notes: sentences on the whole set.
    """

    path: pathlib.Path
    labels: dict[str, str]
    sides: dict[str, str]
    findings: list[Finding]
    classes: list[ClassSummary]
    confusions: list[Confusion]
    suspicion: dict[str, float]
    seen_by: str
    notes: list[str]

    def of_kind(self, kind: str) -> list[Finding]:
        """Returns the findings of a kind, the worst first."""
        return [finding for finding in self.findings if finding.kind == kind]
