"""Wrong labels, classes that look alike, and turned photos: found in features whose truth is known."""

import numpy as np
import pytest

from shufflenet_tf.audit import labels, turned


def clusters(per_class: int, classes: int, seed: int = 0, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Features around a centre a class, and the classes."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 1, (classes, 24))
    given = np.repeat(np.arange(classes), per_class)
    return (centres[given] + spread * rng.normal(0, 0.6, (len(given), 24))).astype(np.float32), given


def test_planted_wrong_labels_are_the_first_of_the_list():
    features, truth = clusters(40, 5)
    rng = np.random.default_rng(1)
    wrong = rng.choice(200, 10, replace=False)
    given = truth.copy()
    given[wrong] = (given[wrong] + rng.integers(1, 5, 10)) % 5
    judgement = labels.judge(features, given, range(200), 5)
    assert set(np.argsort(-judgement.suspicion)[:20]) >= set(wrong)
    assert set(judgement.suspects) <= set(wrong) and len(judgement.suspects) >= 8
    assert (judgement.best_other[wrong] == truth[wrong]).all()
    np.testing.assert_allclose(judgement.probabilities.sum(1), 1, rtol=1e-6)


def test_small_and_large_classes_are_judged_alike():
    features, given = clusters(300, 2)
    kept = np.r_[0:300, 300:310]
    judgement = labels.judge(features[kept], given[kept], range(310), 2)
    assert (judgement.probabilities.argmax(1) == given[kept]).mean() > 0.97
    assert not len(judgement.suspects)


def test_no_photo_is_judged_by_its_copies():
    features, given = clusters(30, 3)
    features = np.concatenate([features, features[:1].repeat(4, 0)])  # four copies of a photo of class 0 in class 1
    given = np.concatenate([given, np.ones(4, int)])
    found = labels.judge(features, given, [*range(90), *[0] * 4], 3).suspects
    assert set(found) == set(range(90, 94))


def test_a_class_that_is_one_picture_is_not_suspected():
    features, given = clusters(20, 3)
    features[40:] = features[40]
    judgement = labels.judge(features, given, [*range(40), *[40] * 20], 3)
    assert not set(judgement.suspects) & set(range(40, 60))
    assert not np.isnan(judgement.probabilities).any()


def test_equal_features_give_no_judgement():
    judgement = labels.judge(np.ones((12, 4), np.float32), np.repeat([0, 1], 6), range(12), 2)
    assert not len(judgement.suspects) and np.isfinite(judgement.suspicion).all()


def test_classes_that_look_alike_are_named():
    features, given = clusters(30, 4)
    features[given == 3] = clusters(30, 4, 5)[0][given == 3] * 0.5 + features[given == 2].mean(0)
    features[given == 2] = clusters(30, 4, 6)[0][given == 3] * 0.5 + features[given == 2].mean(0)
    features[given == 3] = features[given == 2][::-1] + np.random.default_rng(0).normal(0, 0.5, (30, 24))
    ((a, b, first, second, share), *others) = labels.judge(features, given, range(120), 4).alike()
    assert (a, b) == (2, 3) and not others
    assert first + second >= 3 and share >= 0.1


def views(count: int, seed: int = 0) -> list[np.ndarray]:
    """Features of photos as they are, and turned by 90, 180 and 270 degrees; they differ by the angle."""
    rng = np.random.default_rng(seed)
    angles, own = rng.normal(0, 1, (4, 16)), rng.normal(0, 0.4, (count, 16))
    return [(own + angle + rng.normal(0, 0.4, own.shape)).astype(np.float32) for angle in angles]


@pytest.mark.parametrize("by", [1, 2, 3])
def test_turned_photos_are_found_and_by_how_much(by):
    upright = views(120)
    seen = [upright[k].copy() for k in range(4)]
    for k in range(4):  # photos 5 and 90 are turned: of them, one sees each view earlier
        seen[k][[5, 90]] = upright[(k + by) % 4][[5, 90]]
    sample = {index: np.stack([view[index] for view in seen[1:]]) for index in range(80)}
    asked = []

    def closer(indices: list[int]) -> dict[int, np.ndarray]:
        asked.extend(indices)
        return {index: np.stack([view[index] for view in seen[1:]]) for index in indices}

    found = turned.find(seen[0], sample, range(120), closer)
    assert {(index, degrees) for index, degrees, _ in found} == {(5, by * 90), (90, by * 90)}
    assert 90 in asked and not set(asked) & set(sample)


def test_a_set_without_an_upright_has_no_turned_photos():
    rng = np.random.default_rng(0)
    features = rng.normal(0, 1, (100, 16)).astype(np.float32)
    sample = {index: rng.normal(0, 1, (3, 16)).astype(np.float32) for index in range(100)}
    assert turned.find(features, sample, range(100), lambda indices: {}) == []
    assert turned.find(features, {0: sample[0]}, range(100), lambda indices: {}) == []
