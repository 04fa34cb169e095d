"""Says what is on photos.

A model that train_main.py has written, on some photos, or on all those in a folder and the folders within it:
  python -m shufflenet_tf.classify --model=runs/latest cat.jpg dog.png
  python -m shufflenet_tf.classify --model=runs/latest --top=3 holiday/

Published weights, and an exported model with names for its classes:
  python -m shufflenet_tf.classify --model=shufflenet_v2_x1_0.pth cat.jpg
  python -m shufflenet_tf.classify --model=model.tflite --labels=labels.txt cat.jpg

A picture with bars, a picture of what speaks for each answer, or one JSON object a line for another program:
  python -m shufflenet_tf.classify --model=runs/latest --show=result.png holiday/
  python -m shufflenet_tf.classify --model=runs/latest --explain=where.png holiday/
  python -m shufflenet_tf.classify --model=runs/latest --json holiday/ > result.jsonl

Photos are JPEG, PNG, WebP, BMP and GIF files, rotated ones included. Where a folder's folders are named as
labels are (or as ImageNet's, n02123045), the last line says how many photos are in the folder of their top label.
Where no class is likely enough for the model's threshold, "not sure" stands above the likeliest ones; --threshold sets another.
The exit status is 0, 1 if a photo couldn't be read, 2 if nothing could be done.
"""

import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Sequence

import numpy as np
from absl import flags

import shufflenet_tf as st
from shufflenet_tf import attention, cli, imagenet, prediction
from shufflenet_tf.data import photos as photo_files
from shufflenet_tf.errors import UserError
from shufflenet_tf.evaluation import heat
from shufflenet_tf.evaluation.classified import MAX_SHOWN, classified
from shufflenet_tf.evaluation.metrics import shorten
from shufflenet_tf.files import check_writable
from shufflenet_tf.text_files import read_text
from shufflenet_tf.tflite_classifier import label_lines

FLAGS = cli.flag_values()
cli.define_model(FLAGS)
cli.define_max_megapixels(FLAGS)
cli.define_alias(FLAGS, "weights", "model")
flags.DEFINE_integer("top", 5, "Classes to name for each photo.", 1, flag_values=FLAGS)
flags.DEFINE_float(
    "threshold", None, "Least probability of a sure answer; without it, the model's; 0: every answer.", 0, 1, flag_values=FLAGS
)
flags.DEFINE_string("labels", None, "A file with one label a line, or imagenet; without it, the model's.", flag_values=FLAGS)
flags.DEFINE_string("show", None, "A picture to draw, .png, .pdf or .svg: photos with bars.", flag_values=FLAGS)
cli.define_optional_file(
    FLAGS, "explain", "explained.png", "Draw where the network looks, each photo beside what speaks for its top label."
)
flags.DEFINE_bool("json", False, "Print one JSON object a line, for each photo.", flag_values=FLAGS)

BAR_COLUMNS, MAX_LABEL = 20, 40
PICTURES = {".png", ".pdf", ".svg"}


@dataclasses.dataclass(frozen=True)
class _Photo(os.PathLike):
    """A file; `folders`: the names of the folders that it's in, from the one that was given to the innermost."""

    path: str
    folders: tuple[str, ...] = ()

    def __fspath__(self) -> str:
        return self.path


def main(arguments: Sequence[str]) -> int:
    """Classifies the photos and folders that `arguments` name; returns the exit status."""
    if FLAGS.model is None:
        raise UserError("There is no model: give --model=PATH; --help shows examples.")
    photos = _find(arguments)
    for flag in ("show", "explain"):
        if FLAGS[flag].value:
            _check_picture(flag, pathlib.Path(FLAGS[flag].value), photos)
    given = None if FLAGS.labels in (None, "imagenet") else _read_labels(FLAGS.labels)
    bundle = st.load(FLAGS.model)
    if FLAGS.explain:
        attention.check(bundle.model)
    given = imagenet.labels() if FLAGS.labels == "imagenet" else given
    names = prediction.class_names(bundle, f"--model={FLAGS.model}", given, f"--labels={FLAGS.labels}")
    threshold = bundle.threshold if FLAGS.threshold is None else FLAGS.threshold or None
    return _Report(names, len(photos), threshold).run(bundle, photos)


def _find(given: Sequence[str]) -> list[_Photo]:
    """The photos named, and those in the folders named."""
    photos = []
    for path in given:
        if not os.path.isdir(path):
            photos.append(_Photo(path))
            continue
        root = pathlib.Path(path)
        files = photo_files.find(root, lambda line: print(f"classify: {line}.", file=sys.stderr))
        if not files:
            raise UserError(f"There is no photo in the folder {path}: give photos, or folders that hold some.")
        name = root.resolve().name
        photos += [_Photo(str(file), (name, *file.relative_to(root).parts[:-1])) for file in files]
    if not photos:
        raise UserError("There is no photo: give some, or a folder of them, behind the flags; --help shows examples.")
    return photos


def _check_picture(flag: str, path: pathlib.Path, photos: Sequence[_Photo]) -> None:
    """Refuses, before the work and before anything is overwritten, what can't be the picture's place."""
    if path.suffix.lower() not in PICTURES or path.is_dir():
        raise UserError(f"--{flag}={path} can't be drawn: give the name of a file that ends with .png, .pdf or .svg.")
    if any(path.resolve() == pathlib.Path(photo.path).resolve() for photo in photos):
        raise UserError(f"--{flag}={path} is one of the photos: give another name, such as --{flag}=result.png.")
    check_writable(path.parent)


def _read_labels(path: str) -> tuple[str, ...]:
    return label_lines(read_text(path, "--labels"))


class _Report:
    """What is printed and drawn, photo after photo.

    Args:
      names: of the classes.
      total: number of photos.
      threshold: least probability of a sure answer; None: every answer is one.
    """

    def __init__(self, names: prediction.ClassNames, total: int, threshold: float | None = None):
        labels, synsets = names.labels, names.synsets
        self._threshold, self._unsure = threshold, 0
        self._labels, self._synsets, self._total = labels, synsets, total
        self._folders = {_plain(label): index for index, label in enumerate(labels)}
        self._folders |= {name: index for names in (labels, synsets or ()) for index, name in enumerate(names)}
        self._done = self._right = self._in_folders = 0
        self._shown: list[tuple[np.ndarray, str, list[tuple[str, float]], bool]] = []
        self._looks: list[heat.Look] = []
        self._progress = sys.stderr.isatty() and not sys.stdout.isatty()
        encoding = (sys.stdout.encoding or "").lower().replace("-", "")
        self._bars = sys.stdout.isatty() and encoding.startswith("utf")

    def run(self, bundle: st.Bundle, photos: Sequence[_Photo]) -> int:
        """Classifies photos and reports each; returns the exit status."""
        unreadable = 0
        for batch in prediction.read_batches(bundle, photos):
            images = [image for _, image in batch if not isinstance(image, str)]
            rows = prediction.probabilities(bundle, np.stack(images), f"--model={FLAGS.model}") if images else ()
            results = iter(zip(rows, self._heat(bundle, images, rows), strict=True))
            for photo, image in batch:
                self._done += 1
                if isinstance(image, str):
                    unreadable += 1
                    self._tell(f"classify: {_printable(photo.path)} can't be read ({image}).")
                else:
                    self._add(photo, image, *next(results))
            sys.stdout.flush()
            if self._progress:
                print(f"\r{self._done:,} of {self._total:,} photos", end="", file=sys.stderr, flush=True)
        self._finish(unreadable)
        return 1 if unreadable else 0

    def _heat(self, bundle: st.Bundle, images: Sequence[np.ndarray], rows: Sequence[np.ndarray]) -> Sequence[np.ndarray | None]:
        """Where the network looks on each image of a batch, as long as the picture has room."""
        if not (FLAGS.explain and images and len(self._looks) < heat.MAX_SHOWN):
            return [None] * len(images)
        return attention.heat_maps(bundle.model, np.stack(images), np.argmax(rows, axis=1))

    def _add(self, photo: _Photo, image: np.ndarray, probabilities: np.ndarray, lit: np.ndarray | None) -> None:
        top = imagenet.likeliest(probabilities, FLAGS.top).tolist()
        sure = self._threshold is None or bool(probabilities[top[0]] >= self._threshold)
        self._unsure += not sure
        if FLAGS.json:
            rows = [self._json(index, float(probabilities[index])) for index in top]
            print(json.dumps({"file": photo.path} | ({} if self._threshold is None else {"sure": sure}) | {"top": rows}))
        else:
            note = "" if sure else "  not sure; likeliest:\n"
            print(f"{_printable(photo.path)}\n{note}{self._text(top, probabilities)}\n")
        named = [self._folders.get(name, self._folders.get(_plain(name))) for name in photo.folders]
        innermost = [index for index in named if index is not None][-1:]
        self._in_folders += bool(innermost)
        self._right += innermost == top[:1]
        rows, name = [(self._labels[index], float(probabilities[index])) for index in top], _printable(photo.path)
        if FLAGS.show and len(self._shown) < MAX_SHOWN:
            self._shown.append((image, pathlib.Path(name).name, rows, sure))
        if lit is not None:
            true = self._labels[innermost[0]] if innermost else None
            self._looks.append(heat.Look(image, lit, *rows[0], true, pathlib.Path(name).name))

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
        if self._unsure and self._total > 1:
            answered = f'"not sure" of {self._unsure:,} of {self._total - unreadable:,} photos'
            print(
                f"{answered}: none of their classes reaches {self._threshold:.0%}.",
                file=sys.stderr if FLAGS.json else sys.stdout,
            )
        if self._shown:
            *shown, sure = zip(*self._shown, strict=True)
            classified(*shown, FLAGS.show, self._total - unreadable, sure)
        if self._looks:
            heat.attention(self._looks, FLAGS.explain, self._total - unreadable)
            print(f"Where the network looks: {FLAGS.explain}", file=sys.stderr)


def _plain(name: str) -> str:
    """A label as folders are named: Granny_Smith, granny-smith."""
    return name.casefold().replace("_", " ").replace("-", " ")


def _printable(path: str) -> str:
    return path.encode(errors="replace").decode()  # not every file's name is text


def _bar(probability: float) -> str:
    eighths = round(float(probability) * BAR_COLUMNS * 8)
    return ("█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()).ljust(BAR_COLUMNS)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a label that the terminal can't show is no reason to stop
            stream.reconfigure(errors="replace")
    return cli.run("classify", __doc__, FLAGS, main, argv, path=lambda: FLAGS["show"].value)


if __name__ == "__main__":
    sys.exit(run())
