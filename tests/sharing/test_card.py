"""A run's folder for others: what it holds and says, that its code runs, and that the model comes back by its address."""

import hashlib
import json
import pathlib
import re

import numpy as np
import pytest
from absl.testing import flagsaver
from hub_server import serve
from lite_models import COLOURS, SIDE, UINT8, colour_model, write
from PIL import Image

import shufflenet_tf as st
from shufflenet_tf import card
from shufflenet_tf.errors import UserError
from shufflenet_tf.evaluation.metrics import evaluate
from shufflenet_tf.models import v2
from shufflenet_tf.origin import origin
from shufflenet_tf.sharing.share import share
from shufflenet_tf.weights.published import Checkpoint

TORCHVISION = {"weights": "imagenet", "source": "torchvision"}


@pytest.fixture(autouse=True)
def defaults():
    """A program parses its flags once; here each test does."""
    saved = flagsaver.save_flag_values(card.FLAGS)
    yield
    flagsaver.restore_flag_values(saved, card.FLAGS)


@pytest.fixture(scope="module")
def model():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(v2, "REPEATS", (2, 1, 1))
        yield st.create_model("shufflenet_v2_0.5x", input_shape=(SIDE, SIDE, 3), classes=3, labels=list(COLOURS))


@pytest.fixture
def run(model, tmp_path):
    """A finished run, as far as a card is concerned, with an exported file that tells colours apart."""
    folder = tmp_path / "my runs" / "photos 1"
    (folder / "export").mkdir(parents=True)
    model.save(folder / "model.keras")
    probabilities = np.eye(3)[[0, 0, 0, 1, 1, 0, 2, 2]] * 0.8 + 0.05
    test = evaluate(probabilities, np.array([0, 0, 0, 1, 1, 1, 2, 2]), COLOURS).to_json()
    write_metrics(folder, test=test, started_from=TORCHVISION)
    for name in ("training.png", "confusion.png", "mistakes.png", "attention.png"):
        Image.new("RGB", (4, 4)).save(folder / name)
    (folder / "mistakes.csv").write_text(f"file\n{tmp_path}/secret.jpg\n")
    write(folder / "export" / "model_int8.tflite", colour_model("uint8"), UINT8)
    row = {"name": "model_int8.tflite", "top1": 0.75, "agreement": 1.0}
    (folder / "export" / "report.json").write_text(json.dumps({"images": 8, "files": [row]}))
    return folder


def write_metrics(folder: pathlib.Path, **changed) -> None:
    path = folder / "metrics.json"
    old = json.loads(path.read_text()) if path.exists() else {}
    about = {"dataset": "photos | mine", "dataset_spec": f"folder:{folder.parent}/secret", "training_images": 20}
    path.write_text(json.dumps(about | old | changed))


def header(text: str) -> dict:
    """The card's fields; strict YAML is a part of what the Hub's client reads."""
    lines = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)[1].splitlines()
    return {key: json.loads(value) for key, value in (line.split(": ", 1) for line in lines)}


def test_the_folder_holds_all_forms_of_the_model_and_nothing_private(run, tmp_path):
    folder = share(run, name="ann/colours")
    names = ["README.md", "SHA256SUMS", "confusion.png", "labels.txt", "model.keras", "model_int8.tflite", "training.png"]
    assert sorted(path.name for path in folder.iterdir()) == [*names, "weights.npz"] and folder == run / "share"
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
        names.remove(name) if name in names else None
    assert names == ["SHA256SUMS"]
    for path in folder.iterdir():  # the dataset's path stands in metrics.json and in mistakes.csv
        assert str(tmp_path).encode() not in path.read_bytes() and b"secret" not in path.read_bytes(), path
    assert {"mistakes.png", "attention.png"} < {path.name for path in share(run, photos=True).iterdir()}


def test_the_card_says_what_people_ask(run):
    text = (share(run, name="ann/colours") / "README.md").read_text(encoding="utf-8")
    fields = header(text)
    assert fields["license"] == "bsd-3-clause" and fields["library_name"] == "keras" and "tflite" in fields["tags"]
    (result,) = fields["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "accuracy", "value": 0.875, "name": "top-1"}]
    assert result["dataset"] == {"type": "photos-mine", "name": "photos | mine"}
    assert "**Top-1 on 8 test images: 87.5% (52.9 to 97.8).**" in text
    assert "| `model_int8.tflite` | 0.0" in text and "| 75.0% (40.9 to 92.9) |" in text
    assert "| red | 100% (44 to 100) | 75% | 3 |" in text and "green taken for red (1)" in text
    assert "torchvision's weights of ImageNet-1k (`imagenet`), published under BSD-3-Clause" in text
    assert 'st.load("hf://ann/colours")' in text and "3 classes have fewer than 20 test images" in text
    assert "knows nothing but its classes" in text
    write_metrics(run, certainty={"threshold": 0.41, "none": 0.15})
    text = (share(run, name="ann/colours") / "README.md").read_text(encoding="utf-8")
    assert "Where no class reaches 41%" in text and "what is missing is the probability of none of the classes" in text


@pytest.mark.parametrize(
    ("started_from", "licence", "expected", "sentence"),
    [
        (None, None, "unknown", "No licence is stated for this model: ask before you use it. Training started from random"),
        (None, "cc-by-4.0", "cc-by-4.0", "This model: cc-by-4.0."),
        ({"weights": "a.pth", "source": "unknown"}, None, "unknown", "(`a.pth`) whose origin and licence are unknown"),
        ({"weights": "hf://a/b", "source": "hub"}, None, "unknown", "`hf://a/b` on the Hub; its licence is stated there"),
        ({"weights": "x.pth.tar", "source": "megvii"}, None, "mit", "megvii's weights of ImageNet-1k (`x.pth.tar`)"),
        ({"weights": "x.npz", "source": "tensorpack"}, "mit", "mit", "published under Apache-2.0"),
    ],
)
def test_the_licence_of_the_weights(started_from, licence, expected, sentence, run):
    write_metrics(run, started_from=started_from)
    text = (share(run, licence=licence) / "README.md").read_text(encoding="utf-8")
    assert header(text)["license"] == expected and sentence in text


def test_what_a_run_records_of_the_weights_it_starts_from(run, tmp_path):
    about = dict.fromkeys(("channels", "groups", "wiring", "preprocessing", "arrays"))
    published = Checkpoint(path="", source="megvii", family="v1", classes=1000, **about)
    others = Checkpoint(path="", source="megvii", family="v1", classes=7, **about)
    own = Checkpoint(path="", source="shufflenet_tf", family="v2", classes=3, **about)
    assert origin(None, None) is None
    assert origin(published, "/home/ann/x.pth.tar") == {"weights": "x.pth.tar", "source": "megvii"}
    assert origin(others, "/home/ann/x.pth.tar") == {"weights": "x.pth.tar", "source": "unknown"}
    assert origin(own, "hf://a/b@v1") == {"weights": "hf://a/b@v1", "source": "hub"}
    assert origin(own, str(run)) == origin(own, str(run / "model.keras")) == TORCHVISION
    assert origin(own, str(tmp_path / "lone.keras")) == {"weights": "lone.keras", "source": "unknown"}


def test_the_cards_code_runs(run, tmp_path, monkeypatch, capsys):
    folder = share(run)
    code = re.search(r"### LiteRT.*?```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    monkeypatch.chdir(folder)
    for colour in COLOURS:
        Image.new("RGB", (60, 40), colour).save("photo.jpg")
        exec(code, {})
        assert capsys.readouterr().out.split() == [colour]


def test_the_model_comes_back_by_its_address(run, model, tmp_path, monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub", reason="the Hub's client is not installed")
    folder = share(run, name="user/model")
    read = huggingface_hub.ModelCard((folder / "README.md").read_text(encoding="utf-8"), ignore_metadata_errors=False).data
    assert read.license == "bsd-3-clause" and read.eval_results[0].metric_value == 0.875
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    with serve({("main", path.name): path.read_bytes() for path in folder.iterdir()}, []) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        bundle = st.load("hf://user/model")
    assert bundle.labels == COLOURS
    image = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3), np.uint8)
    expected = model(model.preprocessing.normalize(image), training=False).numpy()
    np.testing.assert_allclose(bundle.classify(image), expected, atol=1e-6)


def test_the_program(run, capsys):
    assert card.run(["card", str(run), "--name=ann/colours", f"--output={run / 'up'}"]) == 0
    printed = capsys.readouterr().out
    assert f"hf upload ann/colours '{run / 'up'}'" in printed and "weights.npz" in printed and "licence" not in printed
    write_metrics(run, started_from=None)
    (run / "export" / "model_int8.tflite").unlink()
    assert card.run(["card", str(run)]) == 0
    printed = capsys.readouterr().out
    assert "hf://USER/photos-1" in printed and "--license=mit states one" in printed and "export the run first" in printed


def test_wrong_use(run, tmp_path, capsys):
    for arguments, sentence in (
        ([], "There is no run"),
        ([str(run), str(run)], "2 runs were given"),
        ([str(tmp_path / "none")], "There is no run"),
        ([str(run), "--name=colours"], "give USER/NAME"),
        ([str(run), f"--output={run}"], "holds other things"),
        ([str(run), f"--output={run / 'export'}"], "holds other things"),
    ):
        assert card.run(["card", *arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("card: ") and sentence in line
    (run / "metrics.json").unlink()
    with pytest.raises(UserError, match=r"no metrics\.json"):
        share(run)
