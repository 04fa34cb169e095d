"""What is chosen for given photos: a pure function, sensible at both ends."""

import pytest

from export.convert.precision import Precision
from export.pipeline import convert_all, finish
from papers.latency import untrained
from shufflenet_tf import options
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.errors import UserError
from shufflenet_tf.models import registry
from shufflenet_tf.training import plan
from shufflenet_tf.training.choices import COSTS, Photos, choose
from shufflenet_tf.training.settings import RunOptions, Settings
from shufflenet_tf.weights import published

USUAL = [76] * 10


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("counts", [[3] * 2, [4] * 10, USUAL, [3000, 30], [20] * 200, [50_000] * 10])
def test_the_choice_is_one_that_training_accepts(counts, trained):
    chosen, _ = choose(Photos(counts, trained))
    chosen.pop("image_size")
    run, settings, augmentation = options.split(chosen, RunOptions, Settings, Augmentation)
    registry.check(RunOptions(**run).network)
    assert Augmentation(**augmentation).stateless, "--deterministic must work"
    settled = Settings(**settings).for_images(sum(counts))
    assert 0 <= settled.warmup_steps < settled.steps and 1 <= settled.batch_size <= sum(counts)


def test_a_trained_network_sees_larger_photos_than_it_is_trained_on_unless_milliseconds_count():
    chosen = choose(Photos(USUAL, True))[0]
    assert chosen["image_size"] * chosen["first_size"] < 224 < chosen["image_size"] and not chosen["growth"]
    assert chosen["interpolate"] and "interpolate" not in choose(Photos(USUAL, False))[0]
    assert choose(Photos(USUAL, True), "20ms")[0]["image_size"] == 224


def test_few_photos_are_seen_more_often_and_in_smaller_batches():
    few, many = (choose(Photos(counts, True))[0] for counts in ([5] * 3, [500] * 10))
    assert few["epochs"] > many["epochs"] and few["batch_size"] < many["batch_size"]
    assert few["learning_rate"] < many["learning_rate"]


def test_unequal_classes_are_balanced_and_this_is_said():
    chosen, reasons = choose(Photos([3000, 30], True))
    assert chosen["balance"] and any("3,000 photos and the smallest 30" in reason for reason in reasons)
    assert "balance" not in choose(Photos(USUAL, True))[0]


@pytest.mark.parametrize("budget", ["50ms", "8 ms", "3ms", "1.5ms", "4MB", "2MB"])
@pytest.mark.parametrize("target", ["phone", "phone_old"])
def test_the_best_network_within_the_budget_is_taken(budget, target):
    """Nothing that costs less than the limit is better; what is chosen costs less than the limit, or it is refused."""
    limit = float(budget.rstrip("msMB "))
    try:
        chosen, reasons = choose(Photos(USUAL, True), budget, target)
    except UserError as error:
        assert "is less than any network costs: give" in str(error)
        return
    names = list(COSTS)
    scale = (chosen["image_size"] / 224) ** 2

    def cost(name):
        return COSTS[name].megabytes if "MB" in budget else COSTS[name].milliseconds[target] * scale

    assert cost(chosen["network"]) <= limit
    better = names[names.index(chosen["network"]) + 1 :]
    assert all(cost(name) > limit for name in better) and "is the best one within" in reasons[0]


def test_a_given_network_is_kept_and_compared_with_the_budget():
    chosen, reasons = choose(Photos(USUAL, True, "shufflenet_v2_2.0x"), "1MB")
    assert chosen["network"] == "shufflenet_v2_2.0x" and "is over the budget" in reasons[0]


@pytest.mark.parametrize(
    ("budget", "target", "sentence"),
    [
        ("fast", "phone", "can't be read: give milliseconds on the target or megabytes"),
        ("0ms", "phone", "can't be read"),
        ("8ms", "x86_avx2", "isn't known before the export, only on phone and phone_old"),
        ("0.01MB", "phone", "less than any network costs"),
    ],
)
def test_budgets_that_cannot_be_followed(budget, target, sentence):
    with pytest.raises(UserError, match=sentence):
        choose(Photos(USUAL, True), budget, target)


@pytest.mark.long
@pytest.mark.parametrize("name", list(COSTS))
def test_costs_are_those_of_the_export(name):
    bundle, images = untrained(name, (224, 224))
    conversions = list(convert_all(bundle, [Precision("int8", calibration=images)]))
    for target, milliseconds in COSTS[name].milliseconds.items():
        (exported,) = finish(bundle, conversions, target=target)
        assert milliseconds == pytest.approx(exported.predicted[1], rel=0.05)
        assert COSTS[name].megabytes == pytest.approx(len(exported.optimized.content) / 1e6, rel=0.05)


def test_a_folder_that_is_not_there_costs_no_download(monkeypatch, tmp_path):
    monkeypatch.setattr(published, "find", lambda *_: pytest.fail("weights were fetched"))
    with pytest.raises(UserError, match="There is no folder"):
        plan.settle(f"folder:{tmp_path}/gone", None, {"weights": "imagenet", "choose": True})
