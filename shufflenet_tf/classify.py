"""Says what is on photos.

A model that train_main.py has written, on some photos, or on all those in a folder and the folders within it:
  python -m shufflenet_tf.classify --weights=runs/latest cat.jpg dog.png
  python -m shufflenet_tf.classify --weights=runs/latest --top=3 holiday/

Published weights, and an exported model with names of one's own for its classes:
  python -m shufflenet_tf.classify --weights=shufflenet_v2_x1_0.pth cat.jpg
  python -m shufflenet_tf.classify --weights=model.tflite --labels=labels.txt cat.jpg

A picture with bars, or one JSON object a line for another program:
  python -m shufflenet_tf.classify --weights=runs/latest --show=result.png holiday/
  python -m shufflenet_tf.classify --weights=runs/latest --json holiday/ > result.jsonl

Photos are JPEG, PNG, WebP, BMP and GIF files, turned as their camera says. Where a folder's folders are named as
labels are (or as ImageNet's, n02123045), a last line tells how many photos are in the folder of their top label.
The exit status is 0, 1 if a photo couldn't be read, 2 if nothing could be done.
"""

import dataclasses
import json
import multiprocessing.pool
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence

import numpy as np
from absl import flags, logging

import shufflenet_tf as st
from shufflenet_tf import imagenet
from shufflenet_tf.cli import run_and_report
from shufflenet_tf.data import photos as photo_files
from shufflenet_tf.data.decode import UndecodableError
from shufflenet_tf.errors import UserError
from shufflenet_tf.evaluation.classified import MAX_SHOWN, classified
from shufflenet_tf.evaluation.metrics import shorten
from shufflenet_tf.files import check_writable
from shufflenet_tf.tflite_classifier import label_lines

# Flags of its own, rather than absl's global ones: those of train_main.py have the same names.
FLAGS = flags.FlagValues()
FLAGS.set_gnu_getopt(True)  # flags and photos in any order
flags.DEFINE_string("weights", None, "The model: a file, or the folder of a run.", flag_values=FLAGS)
flags.DEFINE_integer("top", 5, "How many classes to name for a photo; default: 5.", 1, flag_values=FLAGS)
flags.DEFINE_string("labels", None, "A file with one label a line, or imagenet; default: the model's own.", flag_values=FLAGS)
flags.DEFINE_string("show", None, "A picture to draw, .png, .pdf or .svg: photos with bars.", flag_values=FLAGS)
flags.DEFINE_bool("json", False, "Print a JSON object a photo and line.", flag_values=FLAGS)
flags.DEFINE_bool("help", False, "Show this.", short_name="h", flag_values=FLAGS)

BATCH = 16  # photos that are decoded at a time
BAR_COLUMNS, MAX_LABEL = 20, 40
PICTURES = {".png", ".pdf", ".svg"}


@dataclasses.dataclass(frozen=True)
class _Photo:
    """A file; `folders`: the names of the folders that it's in, from the one that was given to the innermost."""

    path: str
    folders: tuple[str, ...] = ()


def main(argv: Sequence[str]) -> int:
    """Classifies photos; `argv` and the result are those of a program."""
    given = FLAGS(argv)[1:]
    if FLAGS.help:
        print(f"{__doc__}\nFlags:\n{_flags_help()}")
        return 0
    if FLAGS.weights is None:
        raise UserError("There is no model: give --weights=PATH; --help shows examples.")
    photos = _find(given)
    if FLAGS.show:
        _check_picture(pathlib.Path(FLAGS.show), photos)
    labels = None if FLAGS.labels in (None, "imagenet") else _read_labels(FLAGS.labels)
    bundle = st.load(FLAGS.weights)
    labels, synsets = _labels(bundle, imagenet.labels() if FLAGS.labels == "imagenet" else labels)
    return _Report(labels, synsets, len(photos)).run(bundle, photos)


def _flags_help() -> str:
    own = [FLAGS[name] for name in ("weights", "top", "labels", "show", "json")]
    return "\n".join(f"  --{flag.name + ('' if flag.boolean else '='):10}{flag.help}" for flag in own)


def _find(given: Sequence[str]) -> list[_Photo]:
    """The photos named, and those in the folders named."""
    photos = []
    for path in given:
        if not os.path.isdir(path):
            photos.append(_Photo(path))
            continue
        root = pathlib.Path(path)
        found = photo_files.find(root)
        if not found:
            raise UserError(f"There is no photo in the folder {path}: give photos, or folders that hold some.")
        name = root.resolve().name
        photos += [_Photo(str(file), (name, *file.relative_to(root).parts[:-1])) for file in found]
    if not photos:
        raise UserError("There is no photo: give some, or a folder of them, behind the flags; --help shows examples.")
    return photos


def _check_picture(path: pathlib.Path, photos: Sequence[_Photo]) -> None:
    """Refuses, before the work and before anything is overwritten, what can't be the picture's place."""
    if path.suffix.lower() not in PICTURES or path.is_dir():
        raise UserError(f"--show={path} can't be drawn: give the name of a file that ends with .png, .pdf or .svg.")
    if any(path.resolve() == pathlib.Path(photo.path).resolve() for photo in photos):
        raise UserError(f"--show={path} is one of the photos: give another name, such as --show=result.png.")
    check_writable(path.parent)


def _read_labels(path: str) -> tuple[str, ...]:
    try:
        return label_lines(pathlib.Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise UserError(f"--labels={path} can't be read ({reason}): give a text file with one label a line.") from None


def _labels(bundle: st.Bundle, given: tuple[str, ...] | None) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """Names of the classes, and their synsets where they are ImageNet's."""
    shape = bundle.model.output_shape
    if len(shape) != 2:
        raise UserError(f"--weights={FLAGS.weights} has no classifier, only features: give a whole model.")
    classes, source = shape[1], f"--labels={FLAGS.labels}" if given else f"--weights={FLAGS.weights}"
    labels = given or bundle.labels or (imagenet.labels() if classes == imagenet.CLASSES else None)
    labels = labels or tuple(f"class {index}" for index in range(classes))
    if len(labels) != classes:
        raise UserError(f"{source} has {len(labels)} labels, but the model has {classes} classes: the numbers must agree.")
    if labels in (imagenet.labels(), imagenet.synsets()):
        return imagenet.labels(), imagenet.synsets()
    return labels, None


class _Report:
    """What is printed and drawn, photo after photo.

    Args:
      labels: names of the classes.
      synsets: their ids, or None.
      total: number of photos.
    """

    def __init__(self, labels: tuple[str, ...], synsets: tuple[str, ...] | None, total: int):
        self._labels, self._synsets, self._total = labels, synsets, total
        self._folders = {_plain(label): index for index, label in enumerate(labels)}
        self._folders |= {name: index for names in (labels, synsets or ()) for index, name in enumerate(names)}
        self._done = self._right = self._in_folders = 0
        self._shown: list[tuple[np.ndarray, str, list[tuple[str, float]]]] = []
        self._progress = sys.stderr.isatty() and not sys.stdout.isatty()
        encoding = (sys.stdout.encoding or "").lower().replace("-", "")
        self._bars = sys.stdout.isatty() and encoding.startswith("utf")

    def run(self, bundle: st.Bundle, photos: Sequence[_Photo]) -> int:
        """Classifies photos and tells of them; returns the exit status."""
        unreadable = 0
        for batch in _batches(bundle, photos):
            images = [image for _, image in batch if not isinstance(image, str)]
            results = iter(_classify(bundle, np.stack(images)) if images else ())
            for photo, image in batch:
                self._done += 1
                if isinstance(image, str):
                    unreadable += 1
                    self._tell(f"classify: {_printable(photo.path)} can't be read ({image}).")
                else:
                    self._add(photo, image, next(results))
            sys.stdout.flush()
            if self._progress:
                print(f"\r{self._done:,} of {self._total:,} photos", end="", file=sys.stderr, flush=True)
        self._finish(unreadable)
        return 1 if unreadable else 0

    def _add(self, photo: _Photo, image: np.ndarray, probabilities: np.ndarray) -> None:
        top = imagenet.likeliest(probabilities, FLAGS.top).tolist()
        if FLAGS.json:
            rows = [self._json(index, float(probabilities[index])) for index in top]
            print(json.dumps({"file": photo.path, "top": rows}))
        else:
            print(f"{_printable(photo.path)}\n{self._text(top, probabilities)}\n")
        named = [self._folders.get(name, self._folders.get(_plain(name))) for name in photo.folders]
        innermost = [index for index in named if index is not None][-1:]
        self._in_folders += bool(innermost)
        self._right += innermost == top[:1]
        if FLAGS.show and len(self._shown) < MAX_SHOWN:
            rows = [(self._labels[index], float(probabilities[index])) for index in top]
            self._shown.append((image, _printable(pathlib.Path(photo.path).name), rows))

    def _json(self, index: int, probability: float) -> dict[str, str | float | int]:
        synset = {"synset": self._synsets[index]} if self._synsets else {}
        return {"label": self._labels[index], **synset, "probability": probability, "index": index}

    def _text(self, top: Sequence[int], probabilities: np.ndarray) -> str:
        lines = []
        for index in top:
            bar = f"{_bar(probabilities[index])}  " if self._bars else ""
            lines.append(f"  {probabilities[index]:6.1%}  {bar}{shorten(self._labels[index], MAX_LABEL)}")
        return "\n".join(lines)

    def _tell(self, line: str) -> None:
        """A line on the standard error, in place of the progress if that is shown."""
        print(("\r\x1b[K" if self._progress else "") + line, file=sys.stderr, flush=True)

    def _finish(self, unreadable: int) -> None:
        if self._progress:
            print("\r\x1b[K", end="", file=sys.stderr)
        if self._in_folders:
            share = self._right / self._in_folders
            photos = f"{self._in_folders:,} photos are" if self._in_folders > 1 else "1 photo is"
            line = f"{self._right:,} of {photos} in the folder of their top label ({share:.1%})"
            others = self._total - unreadable - self._in_folders
            line += f"; {others:,} more in none that is named as a label" if others else ""
            print(f"{line}.", file=sys.stderr if FLAGS.json else sys.stdout)
        if self._shown:
            classified(*zip(*self._shown, strict=True), FLAGS.show, self._total - unreadable)


def _plain(name: str) -> str:
    """A label as folders are named: Granny_Smith, granny-smith."""
    return name.casefold().replace("_", " ").replace("-", " ")


def _printable(path: str) -> str:
    return path.encode(errors="replace").decode()  # not every file's name is text


def _bar(probability: float) -> str:
    eighths = round(float(probability) * BAR_COLUMNS * 8)
    return ("█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()).ljust(BAR_COLUMNS)


def _batches(bundle: st.Bundle, photos: Sequence[_Photo]) -> Iterator[list[tuple[_Photo, np.ndarray | str]]]:
    """Photos with their pixels uint8 [height, width, 3] as the network sees them, or why they can't be read."""

    def read(photo: _Photo) -> np.ndarray | str:
        try:
            return photo_files.read(photo.path, bundle.preprocessing, bundle.size)
        except UndecodableError as reason:
            return str(reason)

    with multiprocessing.pool.ThreadPool(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(photos), BATCH):
            batch = photos[start : start + BATCH]
            images = pool.map(read, batch, 1)
            yield list(zip(batch, images, strict=True))


def _classify(bundle: st.Bundle, images: np.ndarray) -> np.ndarray:
    probabilities = bundle.classify(images)
    if not np.isfinite(probabilities).all():
        raise UserError(f"--weights={FLAGS.weights} gives no numbers: it is damaged, or its training diverged.")
    if not (probabilities.min() >= 0 and probabilities.max() <= 1 + 1e-3):
        raise UserError(
            f"--weights={FLAGS.weights} gives values of {probabilities.min():g} to {probabilities.max():g} where probabilities "
            "are expected: give a model that ends with a softmax."
        )
    return probabilities


def run(argv: Sequence[str]) -> int:
    """Runs `main` and returns the exit status; what went wrong is told in one sentence."""
    logging.set_verbosity(logging.ERROR)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a label that the terminal can't show is no reason to stop
    try:
        return run_and_report("classify", lambda: main(argv), lambda: FLAGS["show"].value)
    finally:
        FLAGS.unparse_flags()


if __name__ == "__main__":
    sys.exit(run(sys.argv))
