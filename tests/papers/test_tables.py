"""python -m papers.tables: the papers' tables, counted again."""

import csv
import io

import pytest

from papers.tables import TABLES, __main__, latency, report
from papers.tables.rows import SQUARE, Row, Table, excess, printed
from shufflenet_tf.errors import UserError
from shufflenet_tf.models.registry import MODELS

ROWS = [(table, row) for table in TABLES.values() for row in table.rows]


class Fixed(report.Counts):
    """Counts that need no network."""

    def __missing__(self, key):
        return report.Count(1_000_000, 140_900_000, 5_000_000)


def line(network: str, kind: str, ms: float, size=SQUARE, outside="", partitions=1) -> latency.Latency:
    return latency.Latency(network, kind, *size, 1, ms, 1.1 * ms, 1000, partitions, outside)


def test_every_network_is_registered_and_every_gap_explained():
    assert {row.network for _, row in ROWS if row.network} <= MODELS.keys()
    assert all(row.why for _, row in ROWS if row.network is None)
    assert len({row.label for row in TABLES["v2.8"].rows}) > 25
    assert list(TABLES) == ["v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.8", "v2.5", "v2.6", "v2.8"]


def test_one_network_has_one_error():
    """But for the papers' two Xception-likes of nearly one size, which differ by half a point."""
    errors = {}
    for _, row in ROWS:
        if row.network and row.error:
            errors.setdefault((row.network, row.size), set()).add(row.error)
    apart = {name: max(found) - min(found) for (name, _), found in errors.items() if len(found) > 1}
    assert all(name.startswith("xception_like") and difference <= 0.5 + 1e-9 for name, difference in apart.items())


@pytest.mark.parametrize(
    ("figure", "value", "rounding"), [("140M", 140e6, 0.5e6), ("2.3G", 2.3e9, 0.05e9), ("1.4M", 1.4e6, 5e4)]
)
def test_printed(figure, value, rounding):
    assert printed(figure) == pytest.approx((value, rounding))
    assert excess(value + 0.9 * rounding, figure) is None
    assert excess(value - 1.1 * rounding, figure) == pytest.approx(-1.1 * rounding)


def test_counts_of_a_network():
    """V1 1.0x with 4 groups: FACTS of the paper's table 1, which is without the classifier's 1,088,000."""
    row = TABLES["v1.1"].rows[3]
    count = report.Counts()[row.network, row.size]
    assert (count.parameters, count.multiply_adds) == (1_968_344, 134_339_776)
    assert excess(count.multiply_adds, row.multiply_adds) and "1.09M" in report.why(row, count)
    assert excess(count.multiply_adds - 1_088_000, row.multiply_adds) is None, "what the reason says"


def test_markdown_and_csv():
    table = TABLES["v1.5"]
    rows = report.records(table, Fixed())
    text = report.markdown(table, rows)
    assert text.startswith("## ShuffleNet paper, table 5: ShuffleNet against MobileNet")
    lines = [text for text in text.splitlines() if text.startswith("|")]
    assert len(lines) == 2 + len(table.rows) and len({text.count("|") for text in lines}) == 1
    assert "| ShuffleNet 1x, g = 8 | 140 | 140.90 | +0.90 | 1,000,000 | 5.00M | 32.4 |" in text
    read = list(csv.DictReader(io.StringIO(report.as_csv(rows))))
    assert [row["row"] for row in read] == [row.label for row in table.rows]
    assert (read[0]["multiply_adds_paper"], read[0]["multiply_adds"], read[0]["error"]) == ("569000000.0", "140900000", "29.4")


def test_rows_without_a_network_show_the_paper_and_a_dash():
    table = Table("v1.6", "x", (Row("GoogleNet", None, "1500M", 31.3, why="unknown"), Row("a", "no_such_network", "1M", 5.0)))
    text = report.markdown(table, report.records(table, Fixed()))
    assert "| GoogleNet | 1,500 | 31.3 | unknown |" in text
    assert "not among the registered networks" in text


def test_latencies_beside_the_papers():
    table = TABLES["v1.8"]
    half, once, *_, mobilenet = (row.network for row in table.rows)
    large = (480, 640)
    lines = [line(half, "int8", 2.0), line(once, "int8", 6.0), line(mobilenet, "int8", 3.0, outside="2 MEAN", partitions=3)]
    lines += [line(half, "float32", 30.0, large), line(once, "float32", 60.0, large)]
    rows = report.records(table, Fixed(), lines)
    assert [row["int8_224x224_ratio"] for row in rows] == [1.0, 3.0, None, None, 1.5]
    assert rows[1]["paper_224x224_ratio"] == pytest.approx(37.8 / 15.2)
    assert rows[1]["float32_480x640_ms"] == 60.0
    assert rows[4]["why"].endswith("int8: 3 partitions, 2 MEAN not delegated")
    text = report.markdown(table, rows)
    assert "6.00 (×3.00)" in text and "222 (×2.54)" in text
    # In the paper MobileNet takes longer than both; here it comes between them.
    assert "224x224, int8: 2 of 3 pairs" in text and "480x640, float32: 1 of 1 pairs" in text


def test_program(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report, "Counts", Fixed)
    measured = tmp_path / "latency.csv"
    measured.write_text(f"{','.join(latency.COLUMNS)}\nshufflenet_v1_1.0x_g3,int8,224,224,1,0.9,1.0,100,1,\n")
    given = ["papers.tables", "--table=v1.8", "--table=v1.1", f"--latency={measured}"]
    assert __main__.run([*given, "--format=csv", f"--output={tmp_path / 'out'}"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["v1.1.csv", "v1.8.csv"]
    assert __main__.run(given) == 0
    captured = capsys.readouterr()
    assert "0.90 (×1.00)" in captured.out and "counting shufflenet_v1_1.0x_g3" in captured.err


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "can't be read"),
        ("", "no measurements"),
        ("network,kind\na,int8\n", "no height"),
        (f"{','.join(latency.COLUMNS)}\na,int8,224,x,1,1,1,1,1,\n", "line 2"),
        (f"{','.join(latency.COLUMNS)}\na,int8,224,224,1,nan,1,1,1,\n", "no latency"),
        ("\0", "latency.csv"),
    ],
)
def test_bad_latencies(content, sentence, tmp_path, capsys):
    path = tmp_path / "latency.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=sentence):
        latency.read(path)
    assert __main__.run(["papers.tables", f"--latency={path}"]) == 2
    assert "python -m papers.latency" in capsys.readouterr().err


def test_an_unknown_table_is_refused(capsys):
    assert __main__.run(["papers.tables", "--table=v3.1"]) == 2
    assert "v3.1" in capsys.readouterr().err
