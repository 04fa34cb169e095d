"""Makes a folder of a finished run that others can use: a model card, the model in every form, and checksums.

  python -m shufflenet_tf.card runs/photos --name=USER/NAME
  python -m shufflenet_tf.card runs/photos --name=USER/NAME --license=mit --photos --output=to_upload

The folder, share/ in the run's, is ready to upload to the Hugging Face Hub. There, everybody loads the model by its address,
hf://USER/NAME. Export the run first (python -m export.tflite) if it is to hold files for phones and browsers.
Pictures that show photos of the dataset stay out of it, unless --photos asks for them.
"""

import shlex
import sys
from collections.abc import Sequence

from absl import flags

from shufflenet_tf import cli
from shufflenet_tf.errors import UserError

FLAGS = cli.flag_values()
flags.DEFINE_string("name", None, "USER/NAME on the Hub; without it, USER and the run's name.", flag_values=FLAGS)
flags.DEFINE_string(
    "license",
    None,
    "Licence of the model as the Hub names it, such as mit or cc-by-4.0; without it, that of the weights it started from.",
    flag_values=FLAGS,
)
flags.DEFINE_bool("photos", False, "Add mistakes.png and attention.png, which show photos of the dataset.", flag_values=FLAGS)
cli.define_output(FLAGS, "Folder to write; without it, share/ in the run's.")


def main(arguments: Sequence[str]) -> None:
    """Writes the folder, and prints what is in it and the next steps."""
    if len(arguments) != 1:
        given = f"{len(arguments)} runs were given" if arguments else "There is no run"
        raise UserError(f"{given}: give the folder of one finished run, such as runs/photos; --help shows examples.")
    from shufflenet_tf.sharing.share import CARD, default_name, share

    (run,) = arguments
    folder = share(run, FLAGS.output, FLAGS.name, FLAGS.license, FLAGS.photos)
    print("\n".join(f"{path.stat().st_size / 1e6:8.2f} MB  {path}" for path in sorted(folder.iterdir())))
    header = (folder / CARD).read_text(encoding="utf-8").split("\n---\n")[0]
    if 'license: "unknown"' in header:
        print("The card states no licence, so that nobody may use the model without asking: --license=mit states one.")
    if not list(folder.glob("*.tflite")):
        print("It holds no file for phones and browsers: export the run first.")
    name = FLAGS.name or default_name(run)
    place = shlex.quote(str(folder))
    steps = [
        ("read the card", str(folder / CARD)),
        ("upload it", f"hf upload {name} {place}"),
        ("use it anywhere", f"python -m shufflenet_tf.classify --model=hf://{name} PHOTO.jpg"),
    ]
    if not list(folder.glob("*.tflite")):
        steps.insert(0, ("export it first", f"python -m export.tflite --model={shlex.quote(run)}"))
    print(cli.next_steps(steps))


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("card", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
