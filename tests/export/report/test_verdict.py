"""The verdict: which file is taken, and what is said of it."""

import pathlib
from types import SimpleNamespace as Record

import pytest

from export.report import verdict

FOLDER = pathlib.Path("runs/photos/export")


def results(images=200, keras=0.95, **top1):
    """An export whose files have these accuracies; int8 is the smallest file, float32 the largest."""
    sizes = {"float32": 3_000_000, "float16": 1_600_000, "int8": 1_000_000}
    models = [
        Record(kind=kind, file_name=f"model_{kind}.tflite", optimized=Record(content=bytes(sizes[kind])), predicted=(5.0, 3.25))
        for kind in top1
    ]
    figures = {f"model_{kind}.tflite": Record(comparison=Record(top1=value, agreement=0.97)) for kind, value in top1.items()}
    return Record(models=models, figures=figures, verification=Record(top1=keras, images=images), target=Record(name="phone"))


def test_int8_is_taken_where_it_loses_little():
    text = verdict.text(results(float32=0.95, float16=0.95, int8=0.945), FOLDER)
    assert text == (
        "Take runs/photos/export/model_int8.tflite, 1.00 MB: it names 94.5% of 200 test photos rightly, 0.5 points less than "
        "in Keras, and about 3.2 ms for a photo on the target phone (predicted)."
    )


def test_another_file_is_taken_where_int8_loses_much():
    text = verdict.text(results(float32=0.95, float16=0.95, int8=0.9), FOLDER)
    assert "Take runs/photos/export/model_float16.tflite, 1.60 MB" in text and "rightly, as in Keras" in text
    assert "model_int8.tflite loses more: it names 90.0% of 200 test photos rightly, 5.0 points less" in text


def test_a_gain_is_called_one_and_few_photos_are_called_few():
    text = verdict.text(results(images=40, keras=0.9, int8=0.925), FOLDER)
    assert "2.5 points more than in Keras" in text and "40 test photos say little: a photo more or less is 2.5%" in text


def test_without_labels_the_agreement_decides():
    unlabelled = results(keras=None, float16=None, int8=None)
    assert verdict.loss(unlabelled, unlabelled.models[1]) == pytest.approx(0.03)
    assert "it agrees with Keras on 97.0% of 200 photos" in verdict.text(unlabelled, FOLDER)
