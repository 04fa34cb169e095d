"""Looks for what is wrong with a folder of photos, before a network is trained on them. Nothing is deleted or changed.

Copies of photos, also between train and test; photos that are probably in the wrong class; blurred, dark, tiny and turned
ones; files that can't be read; classes that are too small, and classes that look alike:
  python -m shufflenet_tf.audit PATH

PATH holds a folder for each class, or train and test with such folders. A page with the photos and a CSV file go to --output.

Classes are told apart best by the features of a network that has seen ImageNet. imagenet downloads one, once (8.8 MiB):
  python -m shufflenet_tf.audit PATH --weights=imagenet
  python -m shufflenet_tf.audit PATH --weights=shufflenetv1_0.5x_Group3.pth.tar
  python -m shufflenet_tf.audit PATH --model=runs/photos
"""

import os
import pathlib
import shlex
import sys
from collections.abc import Sequence

from absl import flags

from shufflenet_tf import cli
from shufflenet_tf.audit.page import write_page
from shufflenet_tf.audit.records import KINDS, Audit
from shufflenet_tf.audit.run import audit_photos
from shufflenet_tf.audit.table import write_table
from shufflenet_tf.errors import UserError, printable
from shufflenet_tf.files import check_writable

FLAGS = cli.flag_values()
cli.define_output(FLAGS, "Folder of audit.html and audit.csv.", "runs/audit")
cli.define_model(FLAGS, "Trained network whose features tell the classes apart: a run's folder or a file.")
flags.DEFINE_string(
    "weights",
    None,
    "The same by published weights: a file, or imagenet, which is downloaded; without it, those that were downloaded before.",
    flag_values=FLAGS,
)
cli.define_max_megapixels(FLAGS)
PAGE, TABLE = "audit.html", "audit.csv"


def main(arguments: Sequence[str]) -> None:
    """Audits the folder that `arguments` names."""
    if len(arguments) != 1:
        raise UserError(f"{len(arguments)} folders were given, but one was expected: python -m shufflenet_tf.audit PATH.")
    path, output = arguments[0].removeprefix("folder:"), pathlib.Path(FLAGS.output)
    check_writable(output)
    audit = audit_photos(path, model=FLAGS.model, weights=FLAGS.weights, log=lambda line: print(line, flush=True))
    write_page(audit, output / PAGE)
    write_table(audit, output / TABLE)
    print(f"\n{_summary(audit)}\n\n{cli.next_steps(_next_steps(path, output))}")


def _summary(audit: Audit) -> str:
    lines = []
    for kind in KINDS:
        if found := audit.of_kind(kind):
            first = printable(os.path.relpath(found[0].photo, audit.path))
            lines.append(f"  {len(found):>6,}  {kind:24} {first}: {found[0].text}")
    lines += [f"          class {c.label}: {c.remark}" for c in audit.classes if c.remark][:5]
    lines += [f"          {c.first} and {c.second} look alike" for c in audit.confusions[:5]]
    lines += [f"          {note}" for note in audit.notes]
    return "\n".join(
        [f"{len(audit.labels):,} photos in {len(audit.classes)} classes; the first of each kind:", *lines]
        if lines
        else [f"{len(audit.labels):,} photos in {len(audit.classes)} classes: nothing was found."]
    )


def _next_steps(path: str, output: pathlib.Path) -> list[tuple[str, str]]:
    train = "python train_main.py" if pathlib.Path("train_main.py").exists() else "shufflenet-train"
    recipe = pathlib.Path("recipes", "finetune_photos.flags")
    start = f"--flagfile={recipe}" if recipe.exists() else "--weights=imagenet"
    return [
        ("look at the photos", f"open {output / PAGE} in a browser; {output / TABLE} lists all findings"),
        ("mend what is wrong, then train", f"{train} {start} --dataset=folder:{shlex.quote(printable(path))}"),
    ]


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("audit", __doc__, FLAGS, main, argv, path=lambda: FLAGS["output"].value)


if __name__ == "__main__":
    sys.exit(run())
