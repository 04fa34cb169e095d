"""The learning rate by step."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from shufflenet_tf.errors import UserError
from shufflenet_tf.training.schedules import KINDS, Schedule


@pytest.mark.parametrize(
    ("kind", "at"),
    [
        ("linear", {0: 0.5, 50: 0.25, 75: 0.125, 100: 0.0, 200: 0.0}),
        ("cosine", {0: 0.5, 50: 0.25, 75: 0.25 * (1 + math.cos(0.75 * math.pi)), 100: 0.0}),
        ("step", {0: 0.5, 29: 0.5, 30: 0.05, 60: 0.005, 99: 0.0005}),
        ("constant", {0: 0.5, 99: 0.5}),
    ],
)
def test_values(kind, at):
    schedule = Schedule(kind, 0.5, 100)
    for step, rate in at.items():
        assert float(schedule(step)) == pytest.approx(rate, abs=1e-7)


@settings(max_examples=40, deadline=None)
@given(kind=some.sampled_from(KINDS), steps=some.integers(2, 400), data=some.data())
def test_warm_up_rises_to_the_peak_and_nothing_rises_after_it(kind, steps, data):
    warmup = data.draw(some.integers(0, steps - 1))
    rates = np.array([float(Schedule(kind, 0.3, steps, warmup)(step)) for step in range(steps)])
    assert np.all(np.diff(rates[:warmup]) > 0) and np.all(np.diff(rates[max(warmup, 1) :]) <= 1e-7)
    assert rates[0] > 0 and rates.max() == pytest.approx(0.3, rel=1e-5)


def test_it_comes_back_from_its_configuration():
    schedule = Schedule("step", 0.5, 100, warmup=5, milestones=(0.5,), factor=0.2)
    twin = Schedule.from_config(schedule.get_config())
    assert [float(twin(step)) for step in range(100)] == [float(schedule(step)) for step in range(100)]


@pytest.mark.parametrize("bad", [("poly", 0.1, 10), ("linear", 0.0, 10), ("linear", 0.1, 10, 10), ("linear", 0.1, 0)])
def test_refusals(bad):
    with pytest.raises(UserError, match=r"is unknown|can't be followed"):
        Schedule(*bad)
