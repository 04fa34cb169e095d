"""The learning rate by step."""

import math

import numpy as np
import pytest
import tensorflow as tf
from amount import LONG
from hypothesis import given, settings
from hypothesis import strategies as some

from shufflenet_tf.errors import UserError
from shufflenet_tf.training.schedules import KINDS, Schedule, image_sides
from shufflenet_tf.training.settings import Settings


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
@given(kind=some.sampled_from(KINDS), steps=some.integers(2, 400 if LONG else 100), data=some.data())
def test_warm_up_rises_to_the_peak_and_nothing_rises_after_it(kind, steps, data):
    warmup = data.draw(some.integers(0, steps - 1))
    rates = np.array([float(Schedule(kind, 0.3, steps, warmup)(step)) for step in range(steps)])
    assert np.all(np.diff(rates[:warmup]) > 0) and np.all(np.diff(rates[max(warmup, 1) :]) <= 1e-7)
    assert rates[0] > 0 and rates.max() == pytest.approx(0.3, rel=1e-5)


def test_it_comes_back_from_its_configuration():
    schedule = Schedule("step", 0.5, 100, warmup=5, milestones=(0.5,), factor=0.2)
    twin = Schedule.from_config(schedule.get_config())
    assert [float(twin(step)) for step in range(100)] == [float(schedule(step)) for step in range(100)]


def test_a_schedule_that_is_shortened_is_one_of_that_length():
    schedule = Schedule("cosine", 0.5, 1000, warmup=50)
    follow = tf.function(lambda step: schedule(step))
    follow(tf.constant(3))
    schedule.shorten(20, 4)
    expected = [float(Schedule("cosine", 0.5, 20, warmup=4)(step)) for step in range(20)]
    assert [float(follow(tf.constant(step))) for step in range(20)] == pytest.approx(expected)


def test_a_kind_without_a_formula_is_no_silent_constant():
    schedule = Schedule("linear", 0.5, 10)
    schedule.kind = "new"
    with pytest.raises(NotImplementedError, match="'new' has no formula"):
        schedule(1)


def test_a_warm_up_that_is_longer_than_the_training_takes_half_of_it_and_this_is_said(capsys):
    assert Settings(batch_size=4, epochs=2, warmup_steps=20).for_images(20).warmup_steps == 5
    assert "it takes 5 of 10 steps" in capsys.readouterr().out
    assert Settings(batch_size=4, epochs=2, warmup_steps=9).for_images(20).warmup_steps == 9
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    ("first", "growth", "expected"),
    [(0.5, 0.75, {0: 48, 40: 80, 74: 96, 75: 100, 99: 100}), (0.8, 0, {0: 80, 99: 80}), (1.0, 0.75, {0: 100, 99: 100})],
)
def test_images_grow_to_their_size(first, growth, expected):
    sides = image_sides((100, 50), first, growth, 100)
    assert {step: int(sides(step)[0]) for step in expected} == expected
    assert all(32 <= int(sides(step)[1]) <= 50 for step in range(0, 100, 9))


@pytest.mark.parametrize("bad", [("poly", 0.1, 10), ("linear", 0.0, 10), ("linear", 0.1, 10, 10), ("linear", 0.1, 0)])
def test_refusals(bad):
    with pytest.raises(UserError, match=r"is unknown|can't be followed"):
        Schedule(*bad)
