"""python -m papers.chart and papers.latency: published accuracy against latency on this machine."""

import csv
import dataclasses
import json
import re

import pytest
from PIL import Image

from papers import latency
from papers.chart import __main__, page, picture
from papers.chart.points import FAMILIES, Point, pareto_front, points
from papers.published_errors import ERRORS
from papers.tables.latency import COLUMNS, KINDS, Latency, read
from shufflenet_tf.errors import UserError
from shufflenet_tf.models import v2
from shufflenet_tf.models.registry import MODELS

SOME = [
    Latency(name, kind, 224, 224, 1, 1.0 + i + 3 * (kind == "float32"), 9.0, 1_000_000, 1)
    for i, name in enumerate([*list(ERRORS)[::5], "shufflenet_v2_1.0x", "shufflenet_v2_1.5x"])
    for kind in KINDS
]
HOSTILE = Point('</script><img onerror="x">', FAMILIES[-1], "<b>&amp;", "int8", 70.0, "a & 'b' \u2028", 1.0, 1.0, 1.0, "1 MEAN")


def data(page: str) -> dict:
    """What a page's script gets."""
    (found,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    return json.loads(found)


def test_measuring_and_drawing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(v2, "REPEATS", (1, 1, 1))
    table, files = tmp_path / "latency.csv", tmp_path / "files"
    given = ["papers.latency", "--models=shufflenet_v2_0.5x", "--runs=2", "--cpu_time", f"--output={table}", f"--files={files}"]
    given += ["--target=x86_avx2"]  # which is faster with everything in one piece, however small the network
    table.write_text(f"{','.join(COLUMNS)}\nshufflenet_v2_1.0x,int8,224,224,1,0.9,1.0,100,1,,phone\n")
    assert latency.run([*given, "--sizes=32x64"]) == 0
    rows = read(table)
    assert [(row.network, row.kind, row.size) for row in rows] == [
        ("shufflenet_v2_1.0x", "int8", (224, 224)),  # was there before
        *(("shufflenet_v2_0.5x", kind, (32, 64)) for kind in KINDS),
    ]
    assert all(row.partitions == 1 and row.outside == "" and row.median_ms >= row.min_ms > 0 for row in rows)
    assert [row.target for row in rows] == ["phone", "x86_avx2", "x86_avx2"]
    made = {path.name: path.stat().st_mtime_ns for path in files.iterdir()}
    assert len(made) == 2
    assert latency.run([*given, "--sizes=32x64"]) == 0
    assert {path.name: path.stat().st_mtime_ns for path in files.iterdir()} == made, "not made again"
    assert "exporting" in capsys.readouterr().err
    monkeypatch.setattr(latency, "LARGEST", 1000)
    assert latency.run([*given, "--sizes=64x32"]) == 2
    assert "shufflenet_v2_0.5x at 64x32 has 1 million parameters" in capsys.readouterr().err


def test_chart_of_a_table(tmp_path, capsys):
    table, picture, page = (tmp_path / name for name in ("latency.csv", "chart.png", "chart.html"))
    latency.write(SOME, table)
    assert read(table) == SOME
    again = tmp_path / "again.csv"
    assert __main__.run(["papers.chart", f"--latency={table}", f"--output={picture}", f"--html={page}", f"--csv={again}"]) == 0
    with Image.open(picture) as image:
        assert min(image.size) > 300
    shown = data(page.read_text())["points"]
    assert len(shown) == len(SOME) and {point["kind"] for point in shown} == set(KINDS)
    assert next(point for point in shown if point["name"] == "shufflenet_v2_1.0x")["accuracy"] == 69.4
    assert len(list(csv.DictReader(again.open()))) == len(SOME)
    assert "shufflenet_v2_1.5x" in capsys.readouterr().out


def test_points_have_a_published_error_at_their_size():
    other_size = dataclasses.replace(SOME[0], height=160, width=160)
    unpublished = dataclasses.replace(SOME[0], network="shufflenet_v2_2.0x_residual")
    (point,) = points([SOME[0], other_size, unpublished])
    assert point.accuracy == 100 - ERRORS[SOME[0].network][0] and point.source == ERRORS[SOME[0].network][1]
    assert {own.family for own in points(SOME)} <= set(FAMILIES)


def test_page_needs_nothing_and_shows_names_as_text(tmp_path):
    page.write([HOSTILE, *points(SOME)], 2, tmp_path / "chart.html")
    text = (tmp_path / "chart.html").read_text()
    found = data(text)
    assert found["threads"] == "2 threads"
    assert found["points"][0]["name"] == HOSTILE.name and found["points"][0]["label"] == HOSTILE.label
    assert "<img" not in text and "innerHTML" not in text
    assert not re.search(r"(?:src|href)\s*=|url\(|@import|fetch\(|https?://(?!www\.w3\.org/2000/svg)", text)
    assert "default-src 'none'" in text


def test_picture(tmp_path):
    picture.draw([*points(SOME), dataclasses.replace(HOSTILE, label="$x_1$")], tmp_path / "chart.svg")
    assert (tmp_path / "chart.svg").read_bytes().startswith(b"<?xml")
    with pytest.raises(UserError, match="at least one"):
        picture.draw([], tmp_path / "none.png")
    with pytest.raises(UserError, match="above 0"):
        picture.draw([dataclasses.replace(HOSTILE, milliseconds=0.0)], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_pareto_front():
    # (cost, gain): the third is beaten by the second, and the fifth costs as much as the fourth for less.
    found = [(1, 50), (2, 60), (3, 55), (5, 70), (5, 65), (6, 70)]
    assert pareto_front(found) == [0, 1, 3]
    assert pareto_front(found[::-1]) == [5, 4, 2]


def test_published_errors_are_of_registered_networks():
    assert ERRORS.keys() <= MODELS.keys()
    assert {f"shufflenet_v2_{alpha}x" for alpha in (0.5, 1.0, 1.5, 2.0)} <= ERRORS.keys()
    assert ERRORS["shufflenet_v2_1.0x"][0] == 30.6 and ERRORS["shufflenet_v1_0.5x_g4"][0] == 41.6
    assert ERRORS["mobilenet_v2_0.75x"][0] == 30.2, "at 224 px; the paper's 32.1 are at 192"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--models=no*"], "no network with a published error"),
        (["--output=chart.txt"], ".png"),
        (["--html=chart.png"], ".html"),
        (["x"], "Unexpected"),
        (["--latency=missing.csv"], "can't be read"),
    ],
)
def test_bad_input(arguments, sentence, capsys):
    assert __main__.run(["papers.chart", *arguments]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(["--models=no*"], "matches no network"), (["--sizes=16"], "480x640"), (["--sizes=axb"], "'axb'")],
)
def test_bad_input_of_latency(arguments, sentence, capsys):
    assert latency.run(["papers.latency", *arguments]) == 2
    assert sentence in capsys.readouterr().err
