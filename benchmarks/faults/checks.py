"""What must hold in the folder of a disturbed run."""

import hashlib
import json
import pathlib
import zipfile


class Broken(AssertionError):
    """What must not happen; the message says what."""


def complete_files(folder: pathlib.Path) -> dict[str, str]:
    """Returns the hashes of the files that are no temporary ones and no logs, by path."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and "tensorboard" not in file.parts]
    return {str(file.relative_to(folder)): _hash(file) for file in files if not is_temporary(file.relative_to(folder))}


def _hash(file: pathlib.Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def is_temporary(path: pathlib.Path) -> bool:
    """Returns whether a path within a run's folder is one that another will replace."""
    return any(part.startswith(".") or ".tmp" in part for part in path.parts)


def check_files(folder: pathlib.Path, before: dict[str, str]) -> None:
    """Raises Broken if a file of `before` is gone, or any file is not whole."""
    import numpy as np
    from PIL import Image

    from export.flatbuffer import validation

    now = complete_files(folder)
    if lost := before.keys() - now.keys():
        raise Broken(f"{min(lost)} is gone")
    for name in now:
        file = folder / name
        try:
            match file.suffix:
                case ".npz":
                    with np.load(file) as arrays:
                        dict(arrays)
                case ".json":
                    json.loads(file.read_text(encoding="utf-8"))
                case ".tflite":
                    validation.parse(file.read_bytes())
                case ".keras":
                    if zipfile.ZipFile(file).testzip():
                        raise ValueError("a bad checksum")
                case ".png":
                    Image.open(file).load()
                case ".csv":
                    rows = file.read_text().splitlines()
                    if len({row.count(",") for row in rows}) != 1:
                        raise ValueError("a row is cut off")
                case ".md" | ".txt":
                    if not file.read_text(encoding="utf-8").endswith("\n"):
                        raise ValueError("it has no last line")
        except Exception as error:
            raise Broken(f"{name} is not whole: {error}") from None


def step_of(folder: pathlib.Path) -> int:
    """Returns the step of a run's checkpoint; 0: it has none."""
    import numpy as np

    for file in folder.glob("*checkpoint*.npz"):
        with np.load(file) as arrays:
            return json.loads(bytes(arrays["progress"]).decode())["step"]
    return 0
