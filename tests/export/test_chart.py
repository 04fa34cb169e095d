"""python -m export.chart: published accuracy against latency on this machine."""

import csv

import pytest
from PIL import Image

from export import chart
from shufflenet_tf import shufflenet_v2


def run(*arguments) -> int:
    return chart.run(["export.chart", *map(str, arguments)])


def test_picture_and_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shufflenet_v2, "REPEATS", (2, 1, 1))
    given = ("--models=shufflenet_v2_[01].?x", "--image_size=32", "--runs=2")
    picture, table = tmp_path / "chart.png", tmp_path / "chart.csv"
    assert run(*given, f"--output={picture}", f"--csv={table}") == 0
    with Image.open(picture) as image:
        assert min(image.size) > 300
    rows = list(csv.DictReader(table.open()))
    assert [(row["network"], row["kind"]) for row in rows] == [
        (name, kind) for name in ("shufflenet_v2_0.5x", "shufflenet_v2_1.0x", "shufflenet_v2_1.5x") for kind in chart.KINDS
    ]
    assert [row["top1"] for row in rows[::2]] == ["60.3", "69.4", "72.6"], "published"
    assert all((row["partitions"], row["not_delegated"]) == ("1", "0") for row in rows)
    assert all(float(row["median_ms"]) > 0 for row in rows)
    assert "shufflenet_v2_1.5x" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(["--models=resnet*"], "no network with a published error"), (["--output=chart.txt"], ".png"), (["x"], "Unexpected")],
)
def test_bad_input(arguments, sentence, capsys):
    assert run(*arguments) == 2
    assert sentence in capsys.readouterr().err
