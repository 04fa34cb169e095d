"""Tables 1-4 of the ShuffleNet V2 paper: the compared variants and their published speeds.

The channels are those of the paper's ARM column. All graphs of an experiment have the same number of multiply-adds, except for
rounding to whole channels. The first variant of each experiment is the recommended one.
"""

import dataclasses

import numpy as np

SIZE = 56  # side of the feature maps in pixels
BLOCKS = 10  # blocks in each graph


@dataclasses.dataclass(frozen=True)
class Variant:
    """A row of a table.

    Attributes:
      label: value of the varied property.
      channels: for each column: channels of the first and the second convolution (G1), or of the block's input.
      gpu, arm: speeds in the paper's columns, GeForce GTX 1080Ti (batches/s) and Snapdragon 810 (images/s).
      groups: groups of the convolutions (G2).
      fragments: number of convolutions in a block, and whether they are parallel (G3).
      relu, shortcut: whether the block has them (G4).
    """

    label: str
    channels: tuple[tuple[int, ...], ...]
    gpu: tuple[float, ...]
    arm: tuple[float, ...]
    groups: int = 1
    fragments: tuple[int, bool] = (1, False)
    relu: bool = True
    shortcut: bool = False


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A table.

    Attributes:
      key: key of the guideline, "G1" to "G4".
      guideline: text of the guideline.
      varied: the property in which the variants differ.
      variants: the variants, the recommended one first.
    """

    key: str
    guideline: str
    varied: str
    variants: tuple[Variant, ...]

    def paper(self, device: str) -> np.ndarray:
        """Returns the times of the paper's `device`, "gpu" or "arm", relative to the first variant: [variants, columns]."""
        speeds = np.array([getattr(variant, device) for variant in self.variants])
        return speeds[0] / speeds


def _widths(*first: int) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(factor * width for width in first) for factor in (1, 2, 4))


def _fragments(count: int) -> tuple[tuple[int, ...], ...]:
    """Returns the channels at which `count` convolutions cost as much as one."""
    return tuple((round(c / count**0.5),) for c in (64, 128, 256))


_G4 = ((32,), (64,), (128,))

EXPERIMENTS = (
    Experiment(
        "G1",
        "equal channel width minimizes memory access cost",
        "input : output channels of 1x1 convolutions",
        (
            Variant("1:1", _widths(32, 32), (1480, 723, 232), (76.2, 21.7, 5.3)),
            Variant("1:2", _widths(22, 44), (1296, 586, 206), (72.9, 20.5, 5.1)),
            Variant("1:6", _widths(13, 78), (876, 489, 189), (69.1, 17.9, 4.6)),
            Variant("1:12", _widths(9, 108), (748, 392, 163), (57.6, 15.1, 4.4)),
        ),
    ),
    Experiment(
        "G2",
        "excessive group convolution increases memory access cost",
        "groups of 1x1 convolutions",
        (
            Variant("1", _widths(64), (2451, 1289, 437), (40.0, 10.2, 2.3)),
            Variant("2", _widths(90), (1725, 873, 341), (35.0, 9.5, 2.2), groups=2),
            Variant("4", _widths(128), (1026, 644, 338), (32.9, 8.7, 2.1), groups=4),
            # The paper's 180 channels aren't divisible by 8.
            Variant("8", ((184,), (360,), (720,)), (634, 445, 230), (27.8, 7.5, 1.8), groups=8),
        ),
    ),
    Experiment(
        "G3",
        "network fragmentation reduces degree of parallelism",
        "1x1 convolutions of a block",
        (
            Variant("1", _fragments(1), (2446, 1274, 434), (40.2, 10.1, 2.3)),
            Variant("2 in series", _fragments(2), (1790, 909, 336), (38.6, 10.1, 2.2), fragments=(2, False)),
            Variant("4 in series", _fragments(4), (752, 745, 349), (38.4, 10.1, 2.3), fragments=(4, False)),
            Variant("2 parallel", _fragments(2), (1537, 803, 320), (33.4, 9.1, 2.2), fragments=(2, True)),
            Variant("4 parallel", _fragments(4), (691, 572, 292), (35.0, 8.4, 2.1), fragments=(4, True)),
        ),
    ),
    Experiment(
        "G4",
        "element-wise operations are non-negligible",
        "element-wise operations of a bottleneck",
        (
            Variant("none", _G4, (2842, 2376, 1782), (66.3, 20.2, 5.4), relu=False),
            Variant("ReLU", _G4, (2647, 2256, 1735), (61.9, 18.8, 5.2)),
            Variant("short-cut", _G4, (2672, 2121, 1458), (57.3, 18.2, 5.1), relu=False, shortcut=True),
            Variant("both", _G4, (2427, 2066, 1436), (56.7, 16.9, 5.0), shortcut=True),
        ),
    ),
)
