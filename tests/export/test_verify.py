"""What verification finds: nothing where nothing differs, and the very layer, image or class where something does."""

import dataclasses
import json
import math
import os

import numpy as np
import pytest
from photos import COLOURS, write_photos
from tiny_classifier import CLASSES, PIXELS, convert, images, network, packed

import shufflenet_tf as st
from export import verify as program
from export.flatbuffer.graph import Graph
from export.measure.agreement import Tally
from export.measure.layer_noise import layer_noise, matching_layers
from export.measure.verification import batches, verify
from export.report import agreement_table, plots
from shufflenet_tf.data import open_source
from shufflenet_tf.errors import UserError

LABELS = (*COLOURS, "white", "black")


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    (folder / "float.tflite").write_bytes(packed(convert(model), {"labels.txt": "\n".join(LABELS)}))
    (folder / "int8.tflite").write_bytes(convert(model, int8=True))
    (folder / "other.tflite").write_bytes(convert(network(seed=1)))
    (folder / "classes.tflite").write_bytes(convert(network(classes=CLASSES + 1)))
    whole = (folder / "float.tflite").read_bytes()
    (folder / "labels.tflite").write_bytes(packed(convert(model), {"labels.txt": "a\nb\nc\nd\ne"}))
    (folder / "truncated.tflite").write_bytes(whole[: len(whole) // 2])
    (folder / "text.tflite").write_text("a text, and no model")
    return folder


@pytest.fixture(scope="module")
def bundle(model):
    return st.Bundle(model, LABELS, PIXELS)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"), per_class=3)


@pytest.fixture(scope="module")
def report(bundle, folder):
    pixels = images(40)
    targets = bundle_targets(bundle, pixels)
    two = [(pixels[:16], targets[:16]), (pixels[16:], targets[16:])]
    return verify(bundle, [folder / f"{name}.tflite" for name in ("float", "int8", "other")], two)


def bundle_targets(bundle, pixels):
    """The model's own answers but for the last four images."""
    targets = np.concatenate([bundle.classify(image[None]).argmax(1) for image in pixels])
    targets[-4:] = (targets[-4:] + 1) % CLASSES
    return targets


def run(*argv) -> int:
    return program.run(["verify", *map(str, argv)])


def test_the_float_file_is_equal_and_the_int8_file_nearly(report):
    floats, int8, other = report.comparisons
    assert report.images == 40 and report.top1 == pytest.approx(36 / 40) and report.labels == LABELS
    assert (floats.agreement, floats.top1) == (1, report.top1) and floats.max_error < 1e-5 and floats.divergence < 1e-6
    assert 0 < int8.mean_error < int8.max_error < 0.3 and int8.agreement > 0.8
    assert other.agreement < int8.agreement and other.mean_error > int8.mean_error and other.divergence > int8.divergence
    assert report.top5 is None and floats.top5 is None  # of five classes, it is always 100 %


def test_worst_images_come_first_with_both_answers(report, bundle, folder):
    pixels = images(40)
    worst = report.comparisons[2].worst
    p, q = bundle.classify(pixels), st.load(folder / "other.tflite").classify(pixels)
    largest = np.abs(p - q).max(axis=1)
    assert [image.index for image in worst] == np.argsort(-largest, kind="stable")[:6].tolist()
    first = worst[0]
    assert first.difference == pytest.approx(largest.max(), abs=1e-5) and (first.pixels == pixels[first.index]).all()
    assert first.reference[0] == p[first.index].argmax() and first.candidate[0] == q[first.index].argmax()
    assert first.candidate[1] == pytest.approx(q[first.index].max(), abs=1e-5)


def test_figures_of_given_probabilities():
    tally, pixels = Tally(), np.zeros((2, 4, 4, 3), np.uint8)
    p, q = np.array([[0.5, 0.5, 0.0], [0.9, 0.1, 0.0]]), np.array([[0.25, 0.75, 0.0], [0.9, 0.1, 0.0]])
    tally.add(pixels, np.array([1, 1]), p, q, ["a", "b", "c"])
    figures = tally.figures()
    assert figures["top1"] == 0.5 and figures["agreement"] == 0.5 and figures["max_error"] == 0.25
    assert figures["mean_error"] == pytest.approx(0.5 / 6)
    assert figures["divergence"] == pytest.approx((0.5 * math.log(2) + 0.5 * math.log(2 / 3)) / 2)
    tally.add(pixels, None, p, q, ["a", "b", "c"])  # accuracy over a part of the images would be of other images
    assert tally.figures()["top1"] is None and tally.figures()["agreement"] == 0.5


def test_noise_of_layers_in_order_of_execution(report):
    floats, int8, _ = report.comparisons
    assert floats.layers == () and floats.layers_against == ""
    assert int8.layers_against == "float.tflite"
    assert [layer.kind for layer in int8.layers] == [
        "CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D", "CONV_2D", "FULLY_CONNECTED",
    ]  # fmt: skip
    assert [layer.short_name.split("_")[0] for layer in int8.layers] == ["stem", "depthwise", "branch", "mix", "linear"]
    assert all(15 < layer.sqnr < 60 for layer in int8.layers)


def test_a_spoilt_layer_is_found(folder, tmp_path):
    """The quantized weights of one layer are halved: noise begins there."""
    graph = Graph((folder / "int8.tflite").read_bytes())
    spoilt = next(o for o in graph.operators if graph.kind(o) == "CONV_2D" and "mix" in graph.name(int(o.outputs[0])))
    tensor = graph.subgraph.tensors[int(spoilt.inputs[1])]
    graph.model.buffers[tensor.buffer].data = (graph.constant(int(spoilt.inputs[1])) // 2).view(np.uint8).ravel()
    (tmp_path / "spoilt.tflite").write_bytes(graph.pack())
    noise = {
        name: [layer.sqnr for layer in layer_noise(folder / "float.tflite", path, images(4))]
        for name, path in (("whole", folder / "int8.tflite"), ("spoilt", tmp_path / "spoilt.tflite"))
    }
    assert noise["whole"][:3] == noise["spoilt"][:3]
    assert noise["spoilt"][3] < 10 < noise["whole"][3] - 10


def test_a_layer_that_was_equalized_is_compared_in_its_original_size(model, folder, tmp_path):
    """Channels grow by up to 12 and the next layer undoes it: this is no noise, though most of the output differs."""
    equal, factors = network(), np.random.default_rng(3).uniform(1, 12, 16).astype(np.float32)
    weights, bias = model.get_layer("mix").get_weights()
    equal.get_layer("mix").set_weights([weights * factors, bias * factors])
    weights, bias = model.get_layer("linear").get_weights()
    equal.get_layer("linear").set_weights([weights / factors[:, None], bias])
    (tmp_path / "equalized.tflite").write_bytes(convert(equal, int8=True))
    noise = layer_noise(folder / "float.tflite", tmp_path / "equalized.tflite", images(4))
    assert len(noise) == 5 and all(15 < layer.sqnr < 60 for layer in noise)


def test_the_pictures_title_says_how_good_the_finished_files_are(report, tmp_path, monkeypatch):
    names = ("float32 as converted.tflite", "model_float32.tflite", "model_int8.tflite")
    comparisons = [dataclasses.replace(c, name=name) for c, name in zip(report.comparisons, names, strict=True)]
    comparisons[0] = dataclasses.replace(comparisons[0], top1=0.5)
    comparisons[1] = dataclasses.replace(comparisons[1], top1=0.9)
    comparisons[2] = dataclasses.replace(comparisons[2], top1=0.875, agreement=0.95)
    titles = []
    monkeypatch.setattr(plots, "headline", lambda figure, text: titles.append(" ".join(text.split())))
    plots.verification(dataclasses.replace(report, comparisons=tuple(comparisons)), tmp_path / "a.png")
    plots.verification(dataclasses.replace(report, top1=None, comparisons=tuple(comparisons)), tmp_path / "b.png")
    assert titles == [
        "Right on 40 images: the original 90.0%, model_float32 90.0%, model_int8 87.5%",
        f"The same answer as the original on 40 images: model_float32 {comparisons[1].agreement:.1%}, model_int8 95.0%",
    ]


def test_layers_of_other_channels_or_names_are_not_compared(folder, bundle):
    floats, int8, other = (Graph((folder / f"{name}.tflite").read_bytes()) for name in ("float", "int8", "other"))
    assert len(matching_layers(floats, int8)) == 5 and len(matching_layers(floats, floats)) == 5
    # Other biases are other channels; that of the last layer is zero in both.
    assert [kind for *_, kind in matching_layers(other, int8)] == ["FULLY_CONNECTED"]
    for tensor in int8.subgraph.tensors:
        tensor.name = b"x"
    assert matching_layers(floats, int8) == []
    alone = verify(bundle, [folder / "int8.tflite"], [(images(2), None)])
    assert alone.comparisons[0].layers == () and "needs the float .tflite" in alone.comparisons[0].layers_against


def test_json_markdown_and_picture(report, tmp_path):
    agreement_table.write(report, tmp_path)
    read = json.loads((tmp_path / "verify.json").read_text(encoding="utf-8"))
    assert read == report.to_json() and [file["name"] for file in read["files"]] == [
        "float.tflite",
        "int8.tflite",
        "other.tflite",
    ]
    assert read["files"][1]["layers"][0]["kind"] == "CONV_2D" and read["files"][1]["worst"][0]["reference"]["label"] in LABELS
    assert (tmp_path / "verify.png").read_bytes().startswith(b"\x89PNG")
    text = agreement_table.text(report)
    assert "| int8.tflite |" in text and "dB" in text and "90.00%" in text


def test_a_reference_whose_name_is_no_text(bundle, folder, tmp_path, monkeypatch):
    """matplotlib can't draw it."""
    monkeypatch.setattr(st, "load", lambda path: bundle)
    found = verify(os.fsdecode(b"/\xb2\xe2"), [folder / "float.tflite"], [(images(2), None)])
    agreement_table.write(found, tmp_path)
    assert json.loads((tmp_path / "verify.json").read_text(encoding="utf-8"))["model"] == r"/\xb2\xe2"


def test_without_labels_there_is_agreement_but_no_accuracy(bundle, folder, tmp_path):
    report = verify(bundle, [folder / "float.tflite"], [(images(3), None)])
    assert report.top1 is None and report.comparisons[0].agreement == 1
    assert "no accuracy" in agreement_table.text(report)
    plots.verification(report, tmp_path / "picture.png")


def test_batches_of_a_dataset(bundle, photos):
    source = open_source(f"folder:{photos}")
    whole = list(batches(source, bundle))
    pixels, targets = (np.concatenate(parts) for parts in zip(*whole, strict=True))
    assert pixels.shape == (9, 32, 32, 3) and pixels.dtype == np.uint8
    assert [LABELS[target] for target in targets] == [source.labels[i] for i in (0, 0, 0, 1, 1, 1, 2, 2, 2)]
    drawn = [np.concatenate([batch for batch, _ in batches(source, bundle, 5)]) for _ in range(2)]
    assert (drawn[0] == drawn[1]).all() and not (drawn[0] == pixels[:5]).all()  # the first classes alone would not do
    with pytest.raises(UserError, match=r"has 9 test images, but 10 were requested"):
        list(batches(source, bundle, 10))


def test_classes_are_found_by_name(model, photos):
    source = open_source(f"folder:{photos}")
    reordered = st.Bundle(model, ("Red", "x", "green", "y", "BLUE"), PIXELS)
    _, targets = next(batches(source, reordered))
    assert targets.tolist() == [4, 4, 4, 2, 2, 2, 0, 0, 0]
    _, targets = next(batches(source, st.Bundle(model, ("red", "green", "x", "y", "z"), PIXELS)))
    assert targets is None
    _, targets = next(batches(source, st.Bundle(model, None, PIXELS)))
    assert targets is None


def test_the_program(folder, photos, tmp_path, capsys):
    argv = [f"--model={folder / 'float.tflite'}", folder / "int8.tflite", f"--dataset=folder:{photos}", "--images=6"]
    assert run(*argv, f"--output={tmp_path / 'out'}") == 0
    printed = capsys.readouterr().out
    assert "| int8.tflite |" in printed and f"-m export.benchmark {folder / 'int8.tflite'}" in printed
    assert json.loads((tmp_path / "out" / "verify.json").read_text(encoding="utf-8"))["images"] == 6
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["verify.json", "verify.png"]


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("missing", "can't be read"),
        ("text", "doesn't begin like a .tflite"),
        ("truncated", "can't be used"),
        ("classes", "has 6 classes, the original 5"),
        ("labels", "and the original have different labels"),
    ],
)
def test_files_that_do_not_fit(file, sentence, folder, bundle):
    with pytest.raises(UserError, match=sentence) as error:
        verify(bundle, [folder / "float.tflite", folder / f"{file}.tflite"], [(images(1), None)])
    assert f"{file}.tflite" in str(error.value) and "\n" not in str(error.value)


def test_nothing_to_verify(bundle, folder):
    with pytest.raises(UserError, match="no images"):
        verify(bundle, [folder / "float.tflite"], [])
    with pytest.raises(UserError, match="give one or more"):
        verify(bundle, [], [(images(1), None)])


def test_wrong_use(folder, photos, tmp_path, capsys):
    model, dataset = f"--model={folder / 'float.tflite'}", f"--dataset=folder:{photos}"
    wrong = [
        ([dataset, folder / "int8.tflite"], "--model is missing"),
        ([model, folder / "int8.tflite"], "--dataset is missing"),
        ([model, folder / "int8.tflite", f"--dataset=folder:{tmp_path / 'none'}"], "none"),
        ([model, folder / "int8.tflite", dataset, "--images=500"], "has 9 test images"),
        ([model, dataset], "give one or more"),
        ([f"--model={tmp_path / 'none'}", dataset, folder / "int8.tflite"], "There is no model"),
    ]
    for argv, sentence in wrong:
        assert run(*argv, f"--output={tmp_path / 'out'}") == 2
        printed = capsys.readouterr().err
        assert sentence in printed and printed.startswith("export.verify: ") and printed.count("\n") == 1
    assert not list(tmp_path.glob("out/*"))


def test_a_file_for_images_of_another_size(folder, model):
    bundle = st.load(folder / "float.tflite")
    bundle.model.input_shape = (1, 64, 64, 3)
    with pytest.raises(UserError, match="takes images of 32x32, but the original takes 64x64"):
        verify(bundle, [folder / "int8.tflite"], [(images(1), None)])
