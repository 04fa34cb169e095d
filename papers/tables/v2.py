"""The tables of Ma et al., "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design", ECCV 2018."""

from papers.tables.rows import SQUARE, Row, Table
from shufflenet_tf.models.v2 import CHANNELS

_WEIGHTS = {0.5: "1.4M", 1.0: "2.3M", 1.5: "3.5M", 2.0: "7.4M"}
_FLOPS = {0.5: "41M", 1.0: "146M", 1.5: "299M", 2.0: "591M"}
_DENSENET = "the paper doesn't print the widths of its DenseNets; see the network's file for those chosen"
_XCEPTION = "V1's Xception-like network; the widths of this one are not printed"
_NOMINAL = "140M is the nominal value of all 1x networks of the V1 paper, whose table 1 has 137M"
_IGCV2 = "not among the registered networks; IGCV3-D, its successor, is"
_LEARNED = "not among the registered networks: its groups are learned in training"
_HALF = "bottlenecks with half the channels are closest; those with a quarter, as in the caption, give 1.15G"
_SANDLER = (
    "widths are multiples of 8, as its authors round them; the paper prints no widths, and no common rule gives its values"
)
_IGCV3 = "its paper states neither how widths are rounded nor what is counted"
_SEARCHED = "not among the registered networks: its cells are the result of a search"
_POOL = "if the global average pool's 0.05M is included, all four widths round to the paper's values"


def _row(label, network, flops, error, gpu=None, arm=None, size=SQUARE, why="") -> Row:
    """Returns a row of table 8, with speeds in images/s on the GPU (batches of 8) and on one core of a Snapdragon 810."""
    times = {} if arm is None else {size: 1000 / arm}
    return Row(label, network, flops, error, size=size, milliseconds=times, gpu=None if gpu is None else 8 * gpu, why=why)


TABLES = (
    Table(
        "v2.5",
        "ShuffleNet V2 architecture, by width",
        tuple(
            Row(
                f"{alpha:g}x: {', '.join(map(str, CHANNELS[alpha]))} channels",
                f"shufflenet_v2_{alpha}x",
                _FLOPS[alpha],
                parameters=_WEIGHTS[alpha],
                why=_POOL,
            )
            for alpha in CHANNELS
        ),
    ),
    Table(
        "v2.6",
        "Large networks",
        (
            Row("ShuffleNet v2-50", "shufflenet_v2_50", "2.3G", 22.8),
            Row("ShuffleNet v1-50", "shufflenet_v1_50", "2.3G", 25.2, why=_HALF),
            Row("ResNet-50", "resnet_50", "3.8G", 24.0, why="the value in ResNet's own paper, which truncates decimals"),
            Row("SE-ShuffleNet v2-164 (with residual)", "shufflenet_v2_164_se", "12.7G", 18.56),
            Row("SENet", None, "20.7G", 18.68, why="not among the registered networks"),
        ),
    ),
    Table(
        "v2.8",
        "Error and speed at four complexities",
        (
            _row("ShuffleNet v2 0.5x", "shufflenet_v2_0.5x", "41M", 39.7, 417, 57.0, why=_POOL),
            _row("0.25 MobileNet v1", "mobilenet_v1_0.25x", "41M", 49.4, 502, 36.4),
            _row("0.4 MobileNet v2", "mobilenet_v2_0.4x", "43M", 43.4, 333, 33.2, (160, 160), why=_SANDLER),
            _row("0.15 MobileNet v2", "mobilenet_v2_0.15x", "39M", 55.1, 351, 33.6, why=_SANDLER),
            _row("ShuffleNet v1 0.5x, g = 3", "shufflenet_v1_0.5x_g3", "38M", 43.2, 347, 56.8),
            _row("DenseNet", "densenet_like_0.5x", "42M", 58.6, 366, 39.7, why=_DENSENET),
            _row("Xception", "xception_like_0.5x", "40M", 44.9, 384, 52.9, why=_XCEPTION),
            _row("IGCV2-0.25", None, "46M", 45.1, 183, 31.5, why=_IGCV2),
            _row("ShuffleNet v2 1x", "shufflenet_v2_1.0x", "146M", 30.6, 341, 24.4),
            _row("0.5 MobileNet v1", "mobilenet_v1_0.5x", "149M", 36.3, 382, 16.5),
            _row("0.75 MobileNet v2", "mobilenet_v2_0.75x", "145M", 32.1, 235, 15.9, (192, 192), why=_SANDLER),
            _row("0.6 MobileNet v2", "mobilenet_v2_0.6x", "141M", 33.3, 249, 14.9, why=_SANDLER),
            _row("ShuffleNet v1 1x, g = 3", "shufflenet_v1_1.0x_g3", "140M", 32.6, 213, 21.8, why=_NOMINAL),
            _row("DenseNet", "densenet_like_1.0x", "142M", 45.2, 279, 15.8, why=_DENSENET),
            _row("Xception", "xception_like_1.0x", "145M", 34.1, 278, 19.5, why=_XCEPTION),
            _row("IGCV2-0.5", None, "156M", 34.5, 132, 15.5, why=_IGCV2),
            _row("IGCV3-D 0.7", "igcv3_d_0.7x", "210M", 31.5, 143, 11.7, why=_IGCV3),
            _row("ShuffleNet v2 1.5x", "shufflenet_v2_1.5x", "299M", 27.4, 255, 11.8),
            _row("0.75 MobileNet v1", "mobilenet_v1_0.75x", "325M", 31.6, 314, 10.6),
            _row("1.0 MobileNet v2", "mobilenet_v2_1.0x", "300M", 28.0, 180, 8.9, why="its source truncates decimals"),
            _row("ShuffleNet v1 1.5x, g = 3", "shufflenet_v1_1.5x_g3", "292M", 28.5, 164, 10.3),
            _row("DenseNet", "densenet_like_1.5x", "295M", 39.9, 274, 9.7, why=_DENSENET),
            _row("CondenseNet", None, "274M", 29.0, why=_LEARNED),
            _row("Xception", "xception_like_1.5x", "305M", 29.4, 219, 10.5, why=_XCEPTION),
            _row("IGCV3-D", "igcv3_d_1.0x", "318M", 27.8, 102, 6.3, why=_IGCV3),
            _row("ShuffleNet v2 2x", "shufflenet_v2_2.0x", "591M", 25.1, 217, 6.7),
            _row("1.0 MobileNet v1", "mobilenet_v1_1.0x", "569M", 29.4, 247, 6.5),
            _row("1.4 MobileNet v2", "mobilenet_v2_1.4x", "585M", 25.3, 137, 5.4, why=_SANDLER),
            _row("ShuffleNet v1 2x, g = 3", "shufflenet_v1_2.0x_g3", "524M", 26.3, 133, 6.4),
            _row("DenseNet", "densenet_like_2.0x", "519M", 34.6, 197, 6.1, why=_DENSENET),
            _row("CondenseNet", None, "529M", 26.2, why=_LEARNED),
            _row("Xception", "xception_like_2.0x", "525M", 27.6, 174, 6.7, why=_XCEPTION),
            _row("IGCV2-1.0", None, "564M", 29.3, 81, 4.9, why=_IGCV2),
            _row("IGCV3-D 1.4", "igcv3_d_1.4x", "610M", 25.5, 82, 4.5, why=_IGCV3),
            _row("ShuffleNet v2 2x, with SE", "shufflenet_v2_2.0x_se", "597M", 24.6, 161, 5.6),
            _row("NASNet-A", None, "564M", 26.0, 130, 4.6, why=_SEARCHED),
            _row("PNASNet-5", None, "588M", 25.8, 115, 4.1, why=_SEARCHED),
        ),
    ),
)
