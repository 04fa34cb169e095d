"""Confidence intervals against published values, and how they are written."""

import pytest

from shufflenet_tf.evaluation.intervals import mean_and_spread, of_share, wilson, with_interval


@pytest.mark.parametrize(
    ("right", "total", "expected"),
    [
        (81, 263, (0.2553, 0.3662)),  # Newcombe 1998, table I, method 3
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0000, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
        (20, 20, (0.8389, 1.0000)),
    ],
)
def test_published_values(right, total, expected):
    assert wilson(right, total) == pytest.approx(expected, abs=5e-5)


def test_nothing_is_known_without_photos():
    assert wilson(0, 0) == (0.0, 1.0)
    assert with_interval(0, 0) == of_share(None, 240) == ""


def test_as_people_read_it():
    assert with_interval(230, 240) == of_share(230 / 240, 240) == "95.8% (92.5 to 97.7)"
    assert with_interval(230, 240, 2) == "95.83% (92.50 to 97.72)"


def test_mean_and_spread():
    assert mean_and_spread([0.9, 0.8, 1.0]) == pytest.approx((0.9, 0.1))
    assert mean_and_spread([0.9]) == (0.9, 0.0)
