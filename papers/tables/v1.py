"""The tables of Zhang et al., "ShuffleNet: An Extremely Efficient CNN for Mobile Devices", CVPR 2018."""

from papers.tables.rows import Row, Table
from shufflenet_tf.models.v1 import CHANNELS

_GROUPS = (1, 2, 3, 4, 8)
_NOMINAL = "the paper rounds a whole column to one nominal value"
_QUARTER = "no known rounding of a quarter of the channels gives the paper's 13M for all groups"
_WIDTHS = "the paper doesn't print all widths; see the network's file for those chosen"

# Table 2: nominal multiply-adds, the reason for our difference, and errors by groups.
_GROUPED = {
    1.0: ("140M", _NOMINAL, (33.6, 32.7, 32.6, 32.8, 32.4)),
    0.5: ("38M", _NOMINAL, (45.1, 44.4, 43.2, 41.6, 42.3)),
    0.25: ("13M", _QUARTER, (57.1, 56.8, 55.0, 54.2, 52.7)),
}
# Table 3: errors without shuffle with 3 and 8 groups.
_UNSHUFFLED = {1.0: (34.5, 37.6), 0.5: (45.7, 48.1), 0.25: (56.3, 56.5)}

# Milliseconds on a Snapdragon 820, one thread, at 224x224, 480x640 and 720x1280 (table 8).
_SIZES = ((224, 224), (480, 640), (720, 1280))


def _grouped(alpha: float, groups: int) -> Row:
    nominal, why, errors = _GROUPED[alpha]
    label = f"ShuffleNet {alpha:g}x, g = {groups}"
    return Row(label, f"shufflenet_v1_{alpha}x_g{groups}", nominal, errors[_GROUPS.index(groups)], why=why)


def _shuffles() -> list[Row]:
    rows = []
    for alpha, errors in _UNSHUFFLED.items():
        for groups, error in zip((3, 8), errors, strict=True):
            name = f"shufflenet_v1_{alpha}x_g{groups}_noshuffle"
            rows.append(Row(f"ShuffleNet {alpha:g}x, g = {groups}, no shuffle", name, error=error))
            shuffled = _grouped(alpha, groups)
            rows.append(Row(f"{shuffled.label}, shuffle", shuffled.network, error=shuffled.error))
    return rows


def _structures() -> list[Row]:
    widths = {"140M": 1.0, "38M": 0.5, "13M": 0.25}
    best = {"140M": "shufflenet_v1_1.0x_g8", "38M": "shufflenet_v1_0.5x_g4", "13M": "shufflenet_v1_0.25x_g8"}
    errors = {
        "VGG-like": (50.7, None, None),
        "ResNet": (37.3, 48.8, 63.7),
        "Xception-like": (33.6, 45.1, 57.1),
        "ResNeXt": (33.3, 46.0, 65.2),
        "ShuffleNet": (32.4, 41.6, 52.7),
    }
    rows = []
    for i, (nominal, alpha) in enumerate(widths.items()):
        for label, values in errors.items():
            like = f"{label.lower().removesuffix('-like')}_like_{alpha}x"
            grouped = label in ("Xception-like", "ShuffleNet")
            why = _WIDTHS if not grouped else _QUARTER if nominal == "13M" else _NOMINAL
            name = best[nominal] if label == "ShuffleNet" else like
            rows.append(Row(f"{label}, {nominal}", name, nominal, values[i], why=why))
    return [row for row in rows if row.error is not None]


def _phone(label: str, network: str, multiply_adds: str, error: float, milliseconds: tuple[float, ...], why: str = "") -> Row:
    times = dict(zip(_SIZES, milliseconds, strict=True))
    return Row(label, network, multiply_adds, error, milliseconds=times, why=why)


_MOBILENETS = {1.0: ("569M", 29.4), 0.75: ("325M", 31.6), 0.5: ("149M", 36.3), 0.25: ("41M", 49.4)}
_MOBILENET = {
    alpha: Row(f"{alpha:g} MobileNet-224", f"mobilenet_v1_{alpha}x", *figures, why="the paper truncates decimals")
    for alpha, figures in _MOBILENETS.items()
}
_TWICE = Row("ShuffleNet 2x, g = 3", "shufflenet_v1_2.0x_g3", "524M", 26.3)
_ONCE = _grouped(1.0, 8)
_HALF = _grouped(0.5, 4)
_ALEXNET = "the paper prints two digits"

TABLES = (
    Table(
        "v1.1",
        "ShuffleNet architecture, by groups",
        tuple(
            Row(
                f"g = {g}: {CHANNELS[g]}, {2 * CHANNELS[g]}, {4 * CHANNELS[g]} channels",
                f"shufflenet_v1_1.0x_g{g}",
                complexity,
                why=f"without the classifier, {4 * CHANNELS[g] / 1000:.2f}M here, all five round to the paper's figures",
            )
            for g, complexity in zip(_GROUPS, ("143M", "140M", "137M", "133M", "137M"), strict=True)
        ),
    ),
    Table("v1.2", "Classification error by width and groups", tuple(_grouped(a, g) for a in _GROUPED for g in _GROUPS)),
    Table("v1.3", "ShuffleNet with and without channel shuffle", tuple(_shuffles())),
    Table("v1.4", "Classification error of structures of equal complexity", tuple(_structures())),
    Table(
        "v1.5",
        "ShuffleNet against MobileNet",
        (
            _MOBILENET[1.0],
            _TWICE,
            Row("ShuffleNet 2x with SE, g = 3", "shufflenet_v1_2.0x_g3_se", "527M", 24.7),
            _MOBILENET[0.75],
            Row("ShuffleNet 1.5x, g = 3", "shufflenet_v1_1.5x_g3", "292M", 28.5),
            _MOBILENET[0.5],
            _ONCE,
            _MOBILENET[0.25],
            _HALF,
            Row("ShuffleNet 0.5x (shallow), g = 3", "shufflenet_v1_0.5x_g3_shallow", "40M", 42.8),
        ),
    ),
    Table(
        "v1.6",
        "Complexity against larger networks",
        (
            Row("VGG-16", "vgg_16", "15300M", 28.5, why="15.3G is the cost of its convolutions alone, 15,347M here"),
            _TWICE,
            Row("GoogleNet", None, "1500M", 31.3, why="not among the registered networks"),
            _ONCE,
            Row("AlexNet", "alexnet", "720M", 42.8, why=_ALEXNET),
            Row("SqueezeNet", "squeezenet_1.0", "833M", 42.5, why="the paper's value is for 227 px: 832.67M here"),
            _HALF,
        ),
    ),
    Table(
        "v1.8",
        "Milliseconds on a phone's processor (Snapdragon 820, one thread)",
        (
            _phone("ShuffleNet 0.5x, g = 3", "shufflenet_v1_0.5x_g3", "38M", 43.2, (15.2, 87.4, 260.1)),
            _phone("ShuffleNet 1x, g = 3", "shufflenet_v1_1.0x_g3", "140M", 32.6, (37.8, 222.2, 684.5), _NOMINAL),
            _phone("ShuffleNet 2x, g = 3", "shufflenet_v1_2.0x_g3", "524M", 26.3, (108.8, 617.0, 1857.6)),
            _phone("AlexNet", "alexnet", "720M", 42.8, (184.0, 1156.7, 3633.9), _ALEXNET),
            _phone("1.0 MobileNet-224", "mobilenet_v1_1.0x", "569M", 29.4, (110.0, 612.0, 1879.2)),
        ),
    ),
)
