"""The top-1 errors on ImageNet that were published for the registered networks."""

_V1_TABLE_2 = {  # error in % by width and groups 1, 2, 3, 4, 8
    0.25: (57.1, 56.8, 55.0, 54.2, 52.7),
    0.5: (45.1, 44.4, 43.2, 41.6, 42.3),
    1.0: (33.6, 32.7, 32.6, 32.8, 32.4),
}
_V1_TABLE_3 = {0.25: (56.3, 56.5), 0.5: (45.7, 48.1), 1.0: (34.5, 37.6)}  # without shuffle; groups 3 and 8

_V1, _V2, _MEGVII = "ShuffleNet paper, table {}", "ShuffleNet V2 paper, table 8", "megvii-model/ShuffleNet-Series, README"

# Name in the registry -> (top-1 error in %, one central crop of 224 px; where it was published).
ERRORS: dict[str, tuple[float, str]] = {
    **{
        f"shufflenet_v1_{alpha}x_g{groups}": (error, _V1.format(2))
        for alpha, errors in _V1_TABLE_2.items()
        for groups, error in zip((1, 2, 3, 4, 8), errors, strict=True)
    },
    **{
        f"shufflenet_v1_{alpha}x_g{groups}_noshuffle": (error, _V1.format(3))
        for alpha, errors in _V1_TABLE_3.items()
        for groups, error in zip((3, 8), errors, strict=True)
    },
    "shufflenet_v1_1.5x_g3": (28.5, _V1.format(5)),
    "shufflenet_v1_1.5x_g8": (29.0, _MEGVII),
    "shufflenet_v1_2.0x_g3": (26.3, _V1.format(5)),
    "shufflenet_v1_2.0x_g8": (27.1, _MEGVII),
    "shufflenet_v2_0.5x": (39.7, _V2),
    "shufflenet_v2_1.0x": (30.6, _V2),
    "shufflenet_v2_1.5x": (27.4, _V2),
    "shufflenet_v2_2.0x": (25.1, _V2),
    "shufflenet_v2_plus_small": (25.9, _MEGVII),
    "shufflenet_v2_plus_medium": (24.3, _MEGVII),
    "shufflenet_v2_plus_large": (22.9, _MEGVII),
}
