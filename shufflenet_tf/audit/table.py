"""The findings of an audit as a CSV file."""

import csv
import os

from shufflenet_tf.audit.records import Audit
from shufflenet_tf.errors import printable
from shufflenet_tf.files import atomic_path

COLUMNS = ("kind", "photo", "class", "side", "score", "text", "other_photo", "other_class")


def write_table(audit: Audit, path: str | os.PathLike) -> None:
    """Writes a row for each finding about a photo, a class or two classes; UTF-8, with paths relative to the audited folder."""

    def relative(file: str) -> str:
        return printable(os.path.relpath(file, audit.path)) if file else ""

    rows = [
        (
            finding.kind,
            relative(finding.photo),
            audit.labels.get(finding.photo, ""),
            audit.sides.get(finding.photo, ""),
            f"{finding.score:.4f}",
            finding.text,
            relative(finding.other),
            finding.other_class or audit.labels.get(finding.other, ""),
        )
        for finding in audit.findings
    ]
    rows += [("class", "", c.label, "", "", c.remark, "", "") for c in audit.classes if c.remark]
    rows += [
        (
            *("classes look alike", "", c.first, "", f"{c.share:.4f}"),
            f"{c.first_as_second} of the first look like the second, {c.second_as_first} the other way round",
            *("", c.second),
        )
        for c in audit.confusions
    ]
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
