"""The units of ShuffleNet V2 (paper, figures 3c and 3d), which V2+ and the paper's other variants also use."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from shufflenet_tf.errors import UserError
from shufflenet_tf.models.layers import (
    ChannelShuffle,
    ChannelSplit,
    Composite,
    ConvBNReLU,
    DepthwiseConvBN,
    SqueezeExcite,
    activation,
    register,
)
from shufflenet_tf.wiring import Wiring


@dataclasses.dataclass(frozen=True)
class Branch:
    """The structure of a unit's main branch.

    Attributes:
      kernel_size: in pixels, of the depthwise convolutions in the branch and in the projection.
      activation: "relu" or "hard_swish".
      squeeze_excite: whether the branch ends with a SqueezeExcite.
      separable: whether it has three 3x3 depthwise separable convolutions instead of one (V2+'s "xception" block).
      star: whether it starts with another 3x3 depthwise convolution (paper, section 5.2: V2*, a larger receptive field).
      residual: whether a shortcut passes it in units of stride 1 (paper, appendix, figure 2).
      excite_unit: whether a SqueezeExcite with half as many channels follows the unit's concatenation (V2 + SE).
    """

    kernel_size: int = 3
    activation: str = "relu"
    squeeze_excite: bool = False
    separable: bool = False
    star: bool = False
    residual: bool = False
    excite_unit: bool = False

    @property
    def suffix(self) -> str:
        """The suffix of a network with such branches: the end of its name, after the width."""
        variants = {"star": self.star, "se": self.squeeze_excite or self.excite_unit, "residual": self.residual}
        return "".join(f"_{variant}" for variant, chosen in variants.items() if chosen)

    @classmethod
    def of(cls, branch: "Branch | Mapping[str, Any] | None") -> "Branch":
        """Returns the branch of a saved configuration, or the paper's for None; a Branch is returned unchanged."""
        return branch if isinstance(branch, cls) else cls(**(branch or {}))


class _Unit(Composite):
    """The base of the two units: their arguments and the main branch."""

    def __init__(
        self,
        filters: int,
        wiring: str | Wiring | Mapping[str, Any] = "tensorpack",
        branch: Branch | Mapping[str, Any] | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if filters % 2:
            raise UserError(f"A ShuffleNet V2 unit splits its channels into halves, but {filters} is odd: give an even number.")
        self.filters = filters
        self.wiring = Wiring.of(wiring)
        self.branch = Branch.of(branch)

    def _pointwise(self, name: str, filters: int, active: bool = True) -> ConvBNReLU:
        activation = self.branch.activation if active else None
        return ConvBNReLU(filters, activation=activation, name=f"{self.name}.{name}", dtype=self.dtype_policy)

    def _depthwise(self, name: str, strides: int = 1) -> DepthwiseConvBN:
        common = {"padding": self.wiring.padding, "dtype": self.dtype_policy}
        return DepthwiseConvBN(self.branch.kernel_size, strides, name=f"{self.name}.{name}", **common)

    def _build_main(self, strides: int, filters: int, added: bool = False) -> None:
        """Builds 1x1 - 3x3 depthwise - 1x1; no layer reduces the channels (guideline 1).

        `added`: whether the branch's input is added to its output, before the last activation.
        """
        common = {"dtype": self.dtype_policy}
        middle = self.filters // 2
        self.main = [self._depthwise("dconv0")] if self.branch.star else []
        if self.branch.separable:
            for i, channels in ((1, middle), (2, middle), (3, filters)):
                self.main += [self._depthwise(f"dconv{i}", strides if i == 1 else 1), self._pointwise(f"conv{i}", channels)]
        else:
            self.main += [
                self._pointwise("conv1", middle),
                self._depthwise("dconv", strides),
                self._pointwise("conv2", filters, active=not added),
            ]
        if self.branch.squeeze_excite:
            self.main.append(SqueezeExcite(name=f"{self.name}.se", **common))
        self.add = tf.keras.layers.Add(name=f"{self.name}.add", **common) if added else None
        self.act = activation(self.branch.activation, name=f"{self.name}.act", **common) if added else None
        self.concat = tf.keras.layers.Concatenate(name=f"{self.name}.concat", **common)
        self.excite = SqueezeExcite(2, name=f"{self.name}.se", **common) if self.branch.excite_unit else None
        self.shuffle = ChannelShuffle(2, self.wiring.shuffle_order, name=f"{self.name}.shuffle", **common)

    def get_config(self):
        config = {"filters": self.filters, "wiring": self.wiring.to_config(), "branch": dataclasses.asdict(self.branch)}
        return {**super().get_config(), **config}

    def _joined(self, shortcut, inputs):
        """Returns the shortcut concatenated with the main branch of `inputs`."""
        x = inputs
        for layer in self.main:
            x = layer(x)
        if self.add:
            x = self.act(self.add([inputs, x]))
        x = self.concat([shortcut, x])  # (N, H, W, C)
        x = self.excite(x) if self.excite else x
        return self.shuffle(x) if self.wiring.shuffle_at == "end" else x


@register
class ShufflenetUnit1(_Unit):
    """The unit of stride 1 (paper, figure 3c): half of the channels pass unchanged, the other half is convolved.

    Args:
      filters: channels of input and output, even.
      wiring: a name or a Wiring.
      branch: structure of the main branch; None: the paper's.

    Raises:
      UserError: the number of channels is odd or differs from the input's.
    """

    def build(self, input_shape):
        if input_shape[-1] != self.filters:
            raise UserError(f"{self.name} keeps the number of channels: its input has {input_shape[-1]}, not {self.filters}.")
        self.split = ChannelSplit(2, name=f"{self.name}.split", dtype=self.dtype_policy)
        self._build_main(1, self.filters // 2, self.branch.residual)
        self.built = True

    def call(self, inputs):
        x = self.shuffle(inputs) if self.wiring.shuffle_at == "start" else inputs
        shortcut, x = self.split(x)  # (N, H, W, C/2) each
        return self._joined(shortcut, x)


@register
class ShufflenetUnit2(_Unit):
    """The unit of stride 2 (paper, figure 3d): both branches have convolutions, which set the number of channels.

    Args:
      filters: channels of the output, even.
      wiring: a name or a Wiring; sets how many of the channels come from the projection.
      branch: structure of the main branch; None: the paper's.
      strides: 2, or 1 in the first stage of the large networks (paper, table 7).

    Raises:
      UserError: the number of channels is odd, or no larger than the input's (wiring projection="input").
    """

    def __init__(self, *args, strides: int = 2, **kwargs):
        super().__init__(*args, **kwargs)
        self.strides = strides

    def build(self, input_shape):
        projected = self.filters // 2 if self.wiring.projection == "half" else input_shape[-1]
        if projected >= self.filters:
            raise UserError(
                f"{self.name} keeps {projected} channels of its input, and its output has only {self.filters}: "
                f"give more than {projected}."
            )
        self.shortcut_dconv = self._depthwise("shortcut_dconv", self.strides)
        self.shortcut_conv = self._pointwise("shortcut_conv", projected)
        self._build_main(self.strides, self.filters - projected)
        self.built = True

    def call(self, inputs):
        return self._joined(self.shortcut_conv(self.shortcut_dconv(inputs)), inputs)

    def get_config(self):
        return {**super().get_config(), "strides": self.strides}


@register
class ShufflenetStage(Composite):
    """A unit of stride 2, followed by units of stride 1.

    Args:
      filters: channels of the output, even.
      repeats: number of units.
      wiring: a name or a Wiring.
      branches: structure of each unit's main branch; None: the paper's in all.
      strides: of the first unit.
    """

    def __init__(
        self,
        filters: int,
        repeats: int,
        wiring: str | Wiring | Mapping[str, Any] = "tensorpack",
        branches: Sequence[Branch | Mapping[str, Any] | None] | None = None,
        strides: int = 2,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.strides = strides
        self.filters, self.repeats, self.wiring = filters, repeats, Wiring.of(wiring)
        self.branches = [Branch.of(branch) for branch in branches or [None] * repeats]

    def build(self, input_shape):
        self.units = []
        for i, branch in enumerate(self.branches):
            given = {"branch": branch, "name": f"{self.name}.block{i}", "dtype": self.dtype_policy}
            first = functools.partial(ShufflenetUnit2, strides=self.strides)
            self.units.append((ShufflenetUnit1 if i else first)(self.filters, self.wiring, **given))
        self.built = True

    def call(self, inputs):
        for unit in self.units:
            inputs = unit(inputs)
        return inputs

    def get_config(self):
        config = {"filters": self.filters, "repeats": self.repeats, "wiring": self.wiring.to_config()}
        branches = [dataclasses.asdict(branch) for branch in self.branches]
        return {**super().get_config(), **config, "branches": branches, "strides": self.strides}
