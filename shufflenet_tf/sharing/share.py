"""A folder that is ready to upload: a run's model in every form, its card, its charts, and checksums."""

import hashlib
import os
import pathlib
import re
import shutil

from shufflenet_tf import loading
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import atomic_path, check_writable
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.sharing import model_card
from shufflenet_tf.sharing.facts import Facts
from shufflenet_tf.weights import canonical
from shufflenet_tf.weights.hub import SUMS, WEIGHTS

FOLDER, CARD = "share", "README.md"
CHARTS = ("training.png", "confusion.png", "reliability.png")
PHOTOS = ("mistakes.png", "attention.png")  # pictures that show photos of the dataset
_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def share(
    run: str | os.PathLike,
    output: str | os.PathLike | None = None,
    name: str | None = None,
    licence: str | None = None,
    photos: bool = False,
) -> pathlib.Path:
    """Writes a folder to upload to the Hugging Face Hub, or anywhere else; what it held before is replaced.

    It holds README.md (the model card), model.keras, weights.npz (for any Keras, and for hf:// addresses), labels.txt, the
    exported .tflite files, charts, and SHA256SUMS. Paths of this machine are in none of them.

    Args:
      run: folder of a finished run.
      output: the folder to write; None: share/ in the run's.
      name: USER/NAME on the Hub; None: USER and the run's name.
      licence: that the model is shared under, as the Hub names it, such as "mit"; None: that of the weights that the run
        started from.
      photos: whether to add the pictures that show photos of the dataset.

    Returns:
      The folder.

    Raises:
      UserError: the run has no model or no figures, the name has another form, or the folder holds other things.
    """
    run = pathlib.Path(run)
    folder = pathlib.Path(output) if output else run / FOLDER
    name = name or default_name(run)
    if not _NAME.fullmatch(name):
        raise UserError(f"The name {name} can't be used: give USER/NAME of letters, digits, dots, dashes and underscores.")
    if not run.is_dir():
        raise UserError(f"There is no run {run}: give the folder of a finished run.")
    model = loading.load(run).model
    assert isinstance(model, ImageClassifier)  # a folder's model is a .keras file
    facts = Facts.of(run, model)
    _check_folder(folder, run)
    charts = [file for file in (*CHARTS, *(PHOTOS if photos else ())) if (run / file).is_file()]
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for path in [run / loading.MODEL, *(run / chart for chart in charts), *(file.path for file in facts.files)]:
            shutil.copyfile(path, temporary / path.name)
        canonical.save(model, temporary / WEIGHTS)
        texts = {"labels.txt": "\n".join(facts.test["labels"]) + "\n", CARD: model_card.text(facts, name, licence, charts)}
        for file, text in texts.items():
            (temporary / file).write_text(text, encoding="utf-8")
        (temporary / SUMS).write_text(_sums(temporary), encoding="utf-8")
    return folder


def default_name(run: str | os.PathLike) -> str:
    """Returns USER/ and the name of a run's folder, of the characters that the Hub takes."""
    return "USER/" + re.sub(r"[^\w.-]", "-", pathlib.Path(run).resolve().name, flags=re.ASCII)


def _check_folder(folder: pathlib.Path, run: pathlib.Path) -> None:
    """Refuses to replace anything but an earlier folder of this kind."""
    if folder.resolve() == run.resolve() or (folder.exists() and not (folder / SUMS).is_file() and any(folder.iterdir())):
        raise UserError(f"{folder} holds other things, which would be replaced: give another --output.")
    check_writable(folder.parent)


def _sums(folder: pathlib.Path) -> str:
    """SHA-256 of each file, as sha256sum writes and checks them."""
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(folder.iterdir()))
