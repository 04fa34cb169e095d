"""Measures the audit of photos by faults that are planted among them.

    python benchmarks/audit.py --photos=FOLDER [--weights=FILE] [--seed=0] [--output=FOLDER]

Into a copy of the photos, without their split, go 100 copies of photos (recompressed at quality 25 to 95, resized by 0.5 to 2,
cropped by up to 5 % at each edge, mirrored, brightened by 0.6 to 1.5; 20 of each), 5 % of the photos move to another class,
and 20 each are blurred, darkened and turned. The table says how many were found, and how many of the other photos were called
the same. Photos that are called copies without being planted may be real ones.
"""

import collections
import os
import pathlib
import random
import shutil
import sys
import tempfile
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from shufflenet_tf import cli
from shufflenet_tf.audit import records
from shufflenet_tf.audit.run import audit_photos
from shufflenet_tf.data.folder_layout import list_folder
from shufflenet_tf.errors import UserError

COPIES, WRONG, BAD, PAIRS = 100, 0.05, 20, 1000
_COPY_KINDS = (records.COPY, records.COPY_IN_CLASSES, records.COPY_ACROSS)

FLAGS = cli.flag_values()
flags.DEFINE_string("photos", None, "Folder of photos, a folder for each class.", flag_values=FLAGS)
flags.DEFINE_string("weights", None, "Published weights whose features tell the classes apart.", flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "Of what is planted where.", flag_values=FLAGS)
cli.define_output(FLAGS, "Folder to leave the photos with the faults in; without it, they are removed.")


def recompressed(image: Image.Image, rng: random.Random) -> tuple[Image.Image, int]:
    """Returns the image and the quality of its JPEG file."""
    return image, rng.randint(25, 95)


def resized(image: Image.Image, rng: random.Random) -> tuple[Image.Image, int]:
    """Returns the image at 0.5 to 2 times its size."""
    factor = 2 ** rng.uniform(-1, 1)
    return image.resize([max(1, round(side * factor)) for side in image.size], Image.Resampling.LANCZOS), 85


def cropped(image: Image.Image, rng: random.Random) -> tuple[Image.Image, int]:
    """Returns the image less 0 to 5 % at each edge."""
    left, top, right, bottom = (rng.uniform(0, 0.05) * side for side in (*image.size, *image.size))
    return image.crop((round(left), round(top), round(image.width - right), round(image.height - bottom))), 85


def mirrored(image: Image.Image, rng: random.Random) -> tuple[Image.Image, int]:
    """Returns the mirror image."""
    return ImageOps.mirror(image), 85


def brightened(image: Image.Image, rng: random.Random) -> tuple[Image.Image, int]:
    """Returns a brighter or darker image."""
    return ImageEnhance.Brightness(image).enhance(rng.uniform(0.6, 1.5)), 85


def blurred(image: Image.Image, rng: random.Random) -> Image.Image:
    """Returns the image out of focus: 1.5 to 3 % of its shorter side."""
    return image.filter(ImageFilter.GaussianBlur(min(image.size) * rng.uniform(0.015, 0.03)))


def dark(image: Image.Image, rng: random.Random) -> Image.Image:
    """Returns the image at 5 to 15 % of its brightness."""
    return ImageEnhance.Brightness(image).enhance(rng.uniform(0.05, 0.15))


def turned(image: Image.Image, rng: random.Random) -> Image.Image:
    """Returns the image on its side or on its head."""
    return image.rotate(rng.choice((90, 180, 270)), expand=True)


VARIANTS: tuple[Callable, ...] = (recompressed, resized, cropped, mirrored, brightened)
FAULTS: dict[str, Callable] = {records.BLURRED: blurred, records.DARK: dark, records.TURNED: turned}


def plant(source: pathlib.Path, folder: pathlib.Path, rng: random.Random) -> dict[str, dict[str, str]]:
    """Writes the photos with the faults; returns {kind: {path: what was done}}."""
    _, listed = list_folder(source, print)
    files = [(label, file) for classes in listed.values() for label, names in classes.items() for file in names]
    rng.shuffle(files)
    labels = sorted({label for label, _ in files})
    planted: dict[str, dict[str, str]] = collections.defaultdict(dict)
    wrong = round(WRONG * len(files))
    kinds = [records.WRONG_CLASS] * wrong + [kind for kind in FAULTS for _ in range(BAD)]
    if len(files) < len(kinds) + COPIES:
        raise UserError(f"{source} has {len(files)} photos, too few to plant {len(kinds) + COPIES} faults: give more.")
    for number, (label, file) in enumerate(files):
        kind = kinds[number] if number < len(kinds) else None
        place = rng.choice([other for other in labels if other != label]) if kind == records.WRONG_CLASS else label
        target = folder / place / f"{number:05}{pathlib.Path(file).suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        if kind in FAULTS:
            target = target.with_suffix(".jpg")
            FAULTS[kind](Image.open(file).convert("RGB"), rng).save(target, quality=90)
        else:
            shutil.copyfile(file, target)
        if kind:
            planted[kind][str(target)] = place
        copy = number - len(kinds)
        if 0 <= copy < COPIES:
            change = VARIANTS[copy % len(VARIANTS)]
            image, quality = change(Image.open(file).convert("RGB"), rng)
            image.save(target.with_name(f"copy_{number:05}.jpg"), quality=quality)
            planted[records.COPY][str(target.with_name(f"copy_{number:05}.jpg"))] = change.__name__
    return planted


def report(audit: records.Audit, planted: dict[str, dict[str, str]], rng: random.Random) -> str:
    """Returns the table."""
    lines = []
    pairs = {(finding.photo, finding.other) for kind in _COPY_KINDS for finding in audit.of_kind(kind)}
    names = {file for pair in pairs for file in pair}
    missed = [what for file, what in planted[records.COPY].items() if file not in names]
    lines.append(f"copies found: {COPIES - len(missed)} of {COPIES}{', not: ' + ', '.join(missed) if missed else ''}")
    by_class = collections.defaultdict(list)
    for file, label in audit.labels.items():
        if file not in planted[records.COPY]:
            by_class[label].append(file)
    weights = [len(files) for files in by_class.values()]
    chosen = [rng.sample(rng.choices([*by_class.values()], weights)[0], 2) for _ in range(PAIRS)]
    wrong = sum((a, b) in pairs or (b, a) in pairs for a, b in chosen)
    lines.append(f"different photos of one class called copies: {wrong} of {PAIRS} random pairs")
    others = [pair for pair in pairs if not set(pair) & planted[records.COPY].keys()]
    total = sum(len(files) * (len(files) - 1) // 2 for files in by_class.values())
    lines.append(f"called copies without being planted: {len(others)} of all {total:,} pairs of one class")
    order = sorted(audit.suspicion, key=lambda file: -audit.suspicion[file])
    first = set(order[: len(order) // 10])
    moved = planted[records.WRONG_CLASS]
    lines.append(f"wrong classes in the first tenth of the list: {len(first & moved.keys())} of {len(moved)}")
    for kind in (records.WRONG_CLASS, *FAULTS):
        found = {finding.photo for finding in audit.of_kind(kind)}
        lines.append(
            f"{kind:14} {len(found & planted[kind].keys()):3} of {len(planted[kind])} found, "
            f"{len(found - planted[kind].keys())} other photos called so"
        )
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Plants, audits and reports."""
    cli.refuse_arguments(arguments)
    if not FLAGS.photos:
        if len(sys.argv) == 1:  # make benchmark, which has no photos
            print("Skipped: give --photos=FOLDER.")
            return
        raise UserError("There are no photos: give --photos=FOLDER.")
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(FLAGS.output or temporary)
        rng = random.Random(FLAGS.seed)
        planted = plant(pathlib.Path(FLAGS.photos), folder, rng)
        audit = audit_photos(folder, weights=FLAGS.weights)
        print(f"\n{report(audit, planted, rng)}")


if __name__ == "__main__":
    sys.exit(cli.run("benchmarks/audit.py", __doc__, FLAGS, main))
