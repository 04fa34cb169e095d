"""The published parameter counts and multiply-adds, by a second count; tests/zoo/test_figures.py has those of all networks."""

import pytest
from qat_networks import few_units

import shufflenet_tf as st
from shufflenet_tf import complexity
from shufflenet_tf.models.v1 import ShuffleNetV1
from shufflenet_tf.models.v2 import ShuffleNetV2

# megvii's README, recounted: groups, alpha, parameters without a classifier bias, millions of multiply-adds.
MEGVII_V1 = [
    (3, 0.5, 717_324, 37.59),
    (3, 1.0, 1_864_728, 137.46),
    (3, 1.5, 3_441_168, 292.44),
    (3, 2.0, 5_449_776, 524.05),
    (8, 0.5, 1_010_448, 40.47),
    (8, 1.0, 2_433_768, 138.37),
    (8, 1.5, 4_268_952, 290.19),
    (8, 2.0, 6_521_232, 521.94),
]
# V1 paper, table 1: groups that megvii has not, parameters with bias, millions of multiply-adds.
PAPER_V1 = [(1, 1_531_936, 143.08), (2, 1_733_848, 140.84), (4, 1_968_344, 134.34)]
# V2 paper, table 5 with the projection as wide as its input: alpha, parameters without bias, published MFLOPs.
V2_INPUT = [(0.5, 1_365_792, 41), (1.0, 2_278_760, 146), (1.5, 3_506_720, 299), (2.0, 7_402_600, 591)]
# torchvision, whose projection makes half of the output: alpha, parameters with bias, published GFLOPs and their last digit.
V2_HALF = [
    (0.5, 1_366_792, 0.04, 0.005),
    (1.0, 2_278_604, 0.145, 0.0005),
    (1.5, 3_503_624, 0.296, 0.0005),
    (2.0, 7_393_996, 0.583, 0.0005),
]


def first_is_short(rows: list[tuple]) -> list:
    """Returns the rows as parameters; all but the first are long tests."""
    return [rows[0], *(pytest.param(*row, marks=pytest.mark.long) for row in rows[1:])]


@pytest.mark.parametrize(("groups", "alpha", "parameters", "mega"), first_is_short(MEGVII_V1))
def test_v1_megvii(groups, alpha, parameters, mega):
    model = ShuffleNetV1(alpha=alpha, groups=groups, wiring="megvii")
    assert complexity.parameters(model) == parameters
    assert (multiply_adds := complexity.multiply_adds(model)) == counted_v1(alpha, groups)
    assert round(multiply_adds / 1e6, 2) == mega


@pytest.mark.parametrize(("groups", "parameters", "mega"), first_is_short(PAPER_V1))
def test_v1_paper(groups, parameters, mega):
    model = ShuffleNetV1(groups=groups)
    assert complexity.parameters(model) == parameters
    assert (multiply_adds := complexity.multiply_adds(model)) == counted_v1(1.0, groups)
    assert round(multiply_adds / 1e6, 2) == mega


@pytest.mark.parametrize(("alpha", "parameters", "mega"), first_is_short(V2_INPUT))
def test_v2_projection_as_wide_as_its_input(alpha, parameters, mega):
    without_bias = ShuffleNetV2(alpha=alpha, wiring="megvii")
    assert complexity.parameters(without_bias) == parameters
    assert (multiply_adds := complexity.multiply_adds(without_bias)) == counted_v2(alpha, half=False)
    assert multiply_adds / 1e6 == pytest.approx(mega, abs=0.6)


@pytest.mark.parametrize(("alpha", "parameters", "giga", "digit"), first_is_short(V2_HALF))
def test_v2_projection_of_half_the_output(alpha, parameters, giga, digit):
    model = ShuffleNetV2(alpha=alpha, wiring="torchvision")
    assert complexity.parameters(model) == parameters
    assert (multiply_adds := complexity.multiply_adds(model)) == counted_v2(alpha, half=True)
    assert multiply_adds / 1e9 == pytest.approx(giga, abs=digit)


def test_memory_access_is_the_papers_equation(monkeypatch):
    """V2 paper, section 2: a 1x1 convolution from c1 to c2 channels over h*w pixels accesses hw(c1 + c2) + c1*c2 elements."""
    cost = complexity.Cost("conv", "conv", 1, 1, 1, (28, 28, 116), (28, 28, 58))
    assert cost.memory_access == 28 * 28 * (116 + 58) + 116 * 58
    few_units(monkeypatch)
    model = st.create_model("shufflenet_v2_0.5x", input_shape=(64, 64, 3))
    assert complexity.memory_access(model) == sum(cost.memory_access for cost in complexity.costs(model))


def test_the_table_adds_up_and_names_the_papers_stages(capsys):
    assert complexity.run(["complexity", "shufflenet_v2_1.0x"]) == 0
    text = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    for stage in ("conv1", "pool1", "stage2", "stage3", "stage4", "conv5", "gap", "linear"):
        assert stage in rows
    assert rows["stage3"][1:7] == ["14x14", "2,", "1", "1", "+", "7"]
    for column, total in ((-3, 2_279_760), (-2, 145_814_296)):
        parts = [int(rows[stage][column].replace(",", "")) for stage in rows if stage[:3] in ("con", "sta", "lin")]
        assert sum(parts) == total == int(rows["total"][column].replace(",", ""))


def test_an_unknown_model_is_a_usage_error(capsys):
    assert complexity.run(["complexity", "shufflenet_v2_1x"]) == 2
    assert "did you mean shufflenet_v2_1.5x or shufflenet_v2_1.0x" in capsys.readouterr().err


def counted_v1(alpha: float, groups: int) -> int:
    """Counts by hand, from the paper's tables alone, at 224 px and 1000 classes."""
    base = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}[groups]
    stem = {0.5: {1: 12, 2: 12, 3: 12, 4: 12, 8: 16}[groups], 1.0: 24, 1.5: 24, 2.0: 48}[alpha]
    total, c, side = 112 * 112 * 27 * stem, stem, 56
    for stage, repeats in enumerate((4, 8, 4)):
        out = int(base * 2**stage * alpha)
        for block in range(repeats):
            first = 1 if stage == block == 0 else groups
            mid = out // 4
            total += side * side * c * mid // first
            side = side // 2 if block == 0 else side
            total += side * side * 9 * mid
            total += side * side * mid * (out - c if block == 0 else out) // groups
            c = out
    return total + c * 1000


def counted_v2(alpha: float, half: bool) -> int:
    """Counts by hand, from the paper's table 5 alone, at 224 px and 1000 classes."""
    widths = {0.5: (48, 96, 192), 1.0: (116, 232, 464), 1.5: (176, 352, 704), 2.0: (244, 488, 976)}[alpha]
    last = 2048 if alpha == 2.0 else 1024
    total, c, side = 112 * 112 * 27 * 24, 24, 28
    for out, repeats in zip(widths, (4, 8, 4), strict=True):
        mid, projected, pixels = out // 2, out // 2 if half else c, side * side
        total += pixels * (9 * c + c * projected)
        total += 4 * pixels * c * mid + pixels * (9 * mid + mid * (out - projected))
        total += (repeats - 1) * pixels * (mid * mid + 9 * mid + mid * mid)
        c, side = out, side // 2
    return total + 49 * c * last + last * 1000
