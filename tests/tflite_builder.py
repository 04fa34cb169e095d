"""Small ShuffleNets as .tflite files, built without a converter: random weights, float or int8, any wiring."""

from export.flatbuffer.builder import FLOAT, INT8, NONE, RELU, SAME, VALID, Net, Quantization, options

__all__ = ["FLOAT", "INT8", "NONE", "RELU", "SAME", "VALID", "Net", "Quantization", "options", "shufflenet_v1", "shufflenet_v2"]


def shufflenet_v2(
    int8: bool, channels=(12, 24, 48), repeats=(2, 4, 2), wiring="tensorpack", size=32, last=32, classes=10
) -> bytes:
    """Returns a ShuffleNet V2 of the channel counts and units given."""
    net = Net((1, size, size, 3), int8)
    explicit, interleave = wiring != "tensorpack", wiring == "torchvision"

    def stride2(x, make, **arguments):
        return make(net.pad(x) if explicit else x, stride=2, padding=VALID if explicit else SAME, **arguments)

    x = stride2(net.input, lambda x, **a: net.conv(x, 8, 3, **a))
    x = stride2(x, lambda x, stride, padding: net.pool(x, "MAX", 3, stride, padding))
    for c, n in zip(channels, repeats, strict=True):
        half = c // 2
        projected = half if wiring == "torchvision" else net.shape(x)[3]
        shortcut = net.conv(stride2(x, net.depthwise), projected)
        y = net.conv(stride2(net.conv(x, half), net.depthwise), c - projected)
        x = net.concat(shortcut, y)
        for _ in range(n - 1):
            x = net.shuffle(x, 2, interleave)
            shortcut, y = net.split(x, 2)
            x = net.concat(shortcut, net.conv(net.depthwise(net.conv(y, half)), half))
        if wiring != "megvii":
            x = net.shuffle(x, 2, interleave)
    return net.done(net.dense(net.mean(net.conv(x, last)), classes))


def shufflenet_v1(int8: bool, groups: int, size=32, units=(2, 2), shuffle_first=True, rank=4, relu_after=True) -> bytes:
    """Returns a ShuffleNet V1 of stages of 8 * groups channels, with ReLU behind the concatenation as in the paper's figure."""
    net = Net((1, size, size, 3), int8)
    x = net.conv(net.input, groups * 2, 3, 2, scale=0.02, zero_point=-128)
    for stage, n in enumerate(units):
        for unit in range(n):
            c, made = net.shape(x)[3], 8 * groups << stage
            y = net.conv(x, made // 4, groups=1 if stage == unit == 0 else groups)
            y = net.shuffle(y, groups, rank=rank) if shuffle_first else y
            y = net.depthwise(y, stride=1 if unit else 2)
            y = y if shuffle_first else net.shuffle(y, groups, rank=rank)
            if unit:
                x = net.add(x, net.conv(y, made, groups=groups, act=NONE))
            else:
                pooled = net.pool(x, "AVERAGE")
                q = net.graph.quantization(pooled)
                same = {"scale": q.scale[0], "zero_point": q.zero_point[0]} if int8 else {}
                y = net.conv(y, made - c, groups=groups, act=NONE, **same)
                x = net.relu(net.concat(pooled, y)) if relu_after else net.concat(pooled, net.relu(y))
    return net.done(net.dense(net.mean(x), 10))
