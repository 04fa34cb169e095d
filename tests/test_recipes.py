"""The papers' recipes: each can be followed to the letter, says what it reproduces, and runs.

Every recipe is parsed by the program's own flags and turned into its settings. Two steps are run of one recipe for each
set of ingredients (everything but the network's width and the crops that go with it), its narrowest, with fewer units:
the others would run the same code.
"""

import json
import pathlib
import re

import numpy as np
import pytest
import tensorflow_datasets as tfds

import shufflenet_tf as st
import train_main
from shufflenet_tf import options
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.models import registry, v1, v2
from shufflenet_tf.training import plan, run
from shufflenet_tf.training.schedules import Schedule
from shufflenet_tf.training.settings import NETWORK, RunOptions, Settings
from shufflenet_tf.wiring import Wiring

FLAGS = train_main.FLAGS
RECIPES = pathlib.Path(train_main.__file__).parent / "recipes"
NAMES = sorted(path.stem for path in RECIPES.glob("*.flags"))
IMAGENET = 1_281_167  # training images
# The papers' learning rate is for batches of 1024.
SMALL = "--steps=2 --steps_per_epoch=2 --warmup_steps=0 --learning_rate=1e-3 --batch_size=4 --image_size=32 --notensorboard"
REPORT = ""
RUN = [
    "cifar10",
    "megvii_shufflenet_v1_0.5x_g3",
    "megvii_shufflenet_v2_0.5x",
    "shufflenet_v1_0.25x_g3",
    "shufflenet_v2_0.5x",
    "torchvision_shufflenet_v2_1.5x",
]
COUNTED = ("shufflenet_v1_0.25x_g4", "megvii_shufflenet_v1_0.5x_g3", "torchvision_shufflenet_v2_1.5x")
SHORT = ("megvii_shufflenet_v2_0.5x", "shufflenet_v1_0.25x_g3", COUNTED[0])  # the others are long tests
# What may differ between recipes that take the same way through the code.
VARIED = {"network", "min_area", "output"}


@pytest.fixture(autouse=True)
def restored_flags(monkeypatch):
    """Nested flag files are found from the root of the repository; flags are as they were after each test."""
    monkeypatch.chdir(RECIPES.parent)
    yield
    FLAGS.unparse_flags()


def follow(name: str, *overrides: str) -> dict:
    """Parses a recipe as the program does; returns the values of the program's flags."""
    FLAGS.unparse_flags()  # the last recipe's values are gone
    FLAGS(["train_main.py", f"--flagfile=recipes/{name}.flags", *overrides])
    return {name: FLAGS[name].value for name in FLAGS if FLAGS[name].name not in ("model", "output_dir", "help", "h")}


def preprocessing(size: tuple[int, int]) -> st.Preprocessing:
    return run._preprocessing(RunOptions(**options.given(FLAGS, RunOptions)), size, None)


@pytest.mark.parametrize("name", NAMES)
def test_opens_with_what_it_reproduces(name):
    lines = (RECIPES / f"{name}.flags").read_text().splitlines()
    head = [line.removeprefix("# ") for line in lines if line.startswith("# ")]
    for i, field in enumerate(("Paper", "Expected top-1 error", "Hours", "Command"), 1):
        assert re.match(rf"{field}: \S", head[i]), f"line {i + 1} should say {field}"
    assert head[4].startswith(f"Command: python train_main.py --flagfile=recipes/{name}.flags")
    assert re.search(r"\d+(\.\d+)? %|not published", head[2])
    assert re.search(r"\d|not published|not measured", head[3])


@pytest.mark.parametrize("name", NAMES)
def test_can_be_followed(name):
    values = follow(name)
    registry.check(values["network"] or NETWORK)
    Wiring.of(values["wiring"] or "tensorpack")
    assert values["output"] == f"runs/{name}", "runs of different recipes don't meet"
    size = plan.checked_size(FLAGS.image_size)
    assert preprocessing(size).crop == size[0]
    Augmentation(**options.given(FLAGS, Augmentation))
    settings = Settings(**options.given(FLAGS, Settings) | {"weights": ""})
    settings = settings.for_images(IMAGENET if "imagenet" in values["dataset"] else 50_000)
    schedule = Schedule(settings.schedule, settings.learning_rate, settings.steps, settings.warmup_steps)
    assert float(schedule(settings.warmup_steps)) == pytest.approx(settings.learning_rate)
    assert float(schedule(settings.steps)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", [name for name in NAMES if "shufflenet" in name])
def test_trains_as_published(name):
    values = follow(name)
    assert (values["dataset"], values["batch_size"], values["learning_rate"]) == ("tfds:imagenet2012", 1024, 0.5)
    assert values["network"] in name
    publisher = name.split("_")[0].replace("shufflenet", "tensorpack")
    assert values["wiring"] == values["preprocessing"] == publisher
    assert values["label_smoothing"] == (0 if publisher == "tensorpack" else 0.1)
    narrow = publisher == "tensorpack" and registry.MODELS[values["network"]].keywords["alpha"] < 1
    assert values["min_area"] == (0.49 if narrow else 0.08), "the papers crop less where the network is small"
    if publisher == "torchvision":
        assert (values["epochs"], values["steps"], values["schedule"]) == (600, 0, "cosine")
        assert values["warmup_steps"] == 5 * (IMAGENET // 1024)
        assert preprocessing((224, 224)).resize == 232
    else:
        assert (values["steps"], values["schedule"], values["weight_decay"]) == (300_000, "linear", 4e-5)


def count(model: str, wiring: Wiring) -> tuple[int, int]:
    """Returns parameters and multiply-adds at 224x224, by the papers' tables and not by building the network."""
    keywords = registry.MODELS[model].keywords
    is_v1 = "groups" in keywords
    g = keywords.get("groups", 1)
    stem, *stages = v1.channels(**keywords) if is_v1 else (v2.STEM, *v2.channels(**keywords))
    last = stages[2] if is_v1 else stages.pop()
    convolutions = [(9 * 3, stem, 112)]  # weights an output channel, output channels, side of the output
    c = stem
    for i, out in enumerate(stages):
        side = 28 >> i
        for block in range((4, 8, 4)[i]):
            first = block == 0
            before = 2 * side if first else side
            if is_v1:
                wide, added = out // 4, out - c if first else out
                convolutions.append((c // (1 if first and i == 0 else g), wide, before))
            else:
                wide = out // 2
                projected = (c if wiring.projection == "input" else wide) if first else 0
                added = out - projected if first else wide
                convolutions.append((c if first else wide, wide, before))
                convolutions += [(9, c, side), (c, projected, side)] if first else []
            convolutions += [(9, wide, side), (wide // g, added, side)]
            c = out
    if not is_v1:
        convolutions.append((c, last, 7))
    parameters = sum((fan_in + 2) * filters for fan_in, filters, _ in convolutions)  # batch normalization has two each
    multiply_adds = sum(fan_in * filters * side**2 for fan_in, filters, side in convolutions)
    return parameters + (last + wiring.classifier_bias) * 1000, multiply_adds + last * 1000


def test_table_lists_every_recipe_with_its_cost():
    rows = [re.split(r" *\| *", line)[1:-1] for line in (RECIPES / "README.md").read_text().splitlines() if line[:3] == "| `"]
    table = {row[0].strip("`"): row[2:] for row in rows}
    assert sorted(table) == [name for name in NAMES if "shufflenet" in name]
    for name, (parameters, mflops, error) in table.items():
        values = follow(name)
        exact = count(values["network"], Wiring.of(values["wiring"]))
        assert (parameters, mflops) == (f"{exact[0]:,}", f"{exact[1] / 1e6:.1f}"), name
        header = (RECIPES / f"{name}.flags").read_text().split("Expected top-1 error: ")[1].splitlines()[0]
        assert re.findall(r"([\d.]+) \w", error) == re.findall(r"([\d.]+) %", header), name


def marked(*names: str) -> list:
    return [name if name in SHORT else pytest.param(name, marks=pytest.mark.long) for name in names]


@pytest.mark.parametrize("name", marked(*COUNTED))
def test_counts_of_the_table_are_those_of_the_program(name):
    values = follow(name)
    network = st.create_model(values["network"], wiring=values["wiring"])
    exact = st.complexity.parameters(network), st.complexity.multiply_adds(network)
    assert count(values["network"], Wiring.of(values["wiring"])) == exact


def prepare(name: str, side: tuple[int, int], test: str, folder: pathlib.Path) -> None:
    """Has TensorFlow Datasets prepare its dataset `name` in `folder`, with a few random images instead of the real ones."""
    builder = tfds.builder(name, data_dir=folder)
    features = builder.info.features

    def examples(number):
        random = np.random.default_rng(number)
        for i in range(number):
            texts = {key: str(i) for key in features if key in ("file_name", "id")}
            image = random.integers(0, 256, (*side, 3), np.uint8)
            yield i, {**texts, "image": image, "label": int(random.integers(features["label"].num_classes))}

    type(builder).url_infos = {}  # nothing is fetched, so there are no checksums to look up
    builder._split_generators = lambda dl_manager: {"train": examples(8), test: examples(4)}
    builder.download_and_prepare()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("tfds")
    prepare("imagenet2012", (60, 80), "validation", folder)
    prepare("cifar10", (32, 32), "test", folder)
    return folder


@pytest.mark.parametrize("name", marked(*RUN))
def test_runs(name, data_dir, tmp_path, monkeypatch, capsys):
    """Two steps of a network with four units, up to the report (which has tests of its own)."""
    for family in (v1, v2):
        monkeypatch.setattr(family, "REPEATS", (2, 1, 1))
    reported = []
    monkeypatch.setattr(run, "write_report", lambda network, source, progress, *_: reported.append(progress) or REPORT)
    follow(name, *SMALL.split(), f"--data_dir={data_dir}", f"--output={tmp_path}")
    train_main.main([])
    assert [progress.step for progress in reported] == [2]
    assert all(np.isfinite(value) for value in reported[0].history[-1].values())
    assert re.search(r"8 images to train on, .*4 to test on", capsys.readouterr().out)


def test_every_set_of_ingredients_is_run():
    ingredients = {}
    for name in NAMES:
        values = follow(name)
        if values["weights"]:  # fine-tuning: tests/test_train_main.py
            continue
        kind = registry.MODELS[values["network"] or NETWORK].func.__name__
        ingredients[name] = json.dumps({key: values[key] for key in sorted(values) if key not in VARIED} | {"kind": kind})
    assert {ingredients[name] for name in RUN} == set(ingredients.values())
    assert len(set(ingredients.values())) == len(RUN), "one is enough"
