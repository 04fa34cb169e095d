"""docs/tutorial.ipynb runs from its first cell to its last, at small size, and leaves what it promises."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs/tutorial.ipynb"
SMALL = {"DRAWN": "shapes/tiny", "NETWORK": "shufflenet_v2_0.5x", "IMAGE_SIZE": "32", "EPOCHS": "1", "PTQ": "minmax"}


def cells(kind: str) -> list[str]:
    """Sources of the cells of one kind, in order."""
    return ["".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == kind]


def test_notebook_is_of_format_4_without_outputs():
    notebook = json.loads(NOTEBOOK.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    for cell in notebook["cells"]:
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)


@pytest.mark.long
def test_notebook_runs(tmp_path):
    """In one Python process, as a Jupyter kernel would run the cells; settings come from the environment."""
    program = tmp_path / "tutorial.py"
    program.write_text("\n\n".join(cells("code")))
    environment = {**os.environ, **SMALL, "OUTPUT": str(tmp_path / "run"), "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, program], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "test top-1: " in done.stdout and "make android MODEL=" in done.stdout
    left = {path.relative_to(tmp_path / "run").as_posix() for path in (tmp_path / "run").rglob("*")}
    assert {"model.keras", "metrics.json", "confusion.png", "export/model_int8.tflite", "export/report.md"} <= left
