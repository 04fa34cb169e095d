"""The preprocessing contract: how a photo becomes a network's input. It is saved with the model and in every export."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from shufflenet_tf.errors import UserError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Describes how a photo of any size becomes the input of the first convolution.

    Attributes:
      channel_order: order of the network's input, "rgb" or "bgr"; images are always RGB.
      scale: factor on pixel values 0-255, before mean and standard deviation.
      mean, std: of R, G, B in this order, after scaling.
      resize, crop: in pixels; a photo is resized so that its shorter side is `resize`, then a square of `crop` is
        cut from its centre. For a network with another input size, both scale in proportion.
      interpolation: method of resizing, a name of `tf.image.ResizeMethod`.
      antialias: whether shrinking averages over all pixels, as Pillow does, or takes the nearest few, as OpenCV does.

    Raises:
      UserError: a value is invalid.
    """

    channel_order: str = "rgb"
    scale: float = 1 / 255
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    resize: int = 256
    crop: int = 224
    interpolation: str = "bilinear"
    antialias: bool = True

    def __post_init__(self):
        object.__setattr__(self, "mean", tuple(map(float, self.mean)))
        object.__setattr__(self, "std", tuple(map(float, self.std)))
        if self.channel_order not in ("rgb", "bgr"):
            raise UserError(f"Preprocessing.channel_order is {self.channel_order!r}: use 'rgb' or 'bgr'.")
        object.__setattr__(self, "scale", float(self.scale))
        finite = all(map(math.isfinite, (*self.mean, *self.std, self.scale)))
        if not finite or len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0 or self.scale <= 0:
            raise UserError(
                f"Preprocessing has mean={self.mean}, std={self.std}, scale={self.scale}: "
                f"give three means, three positive standard deviations and a positive scale."
            )
        if not 0 < self.crop <= self.resize:
            raise UserError(f"Preprocessing crops {self.crop} px from {self.resize} px: use 0 < crop <= resize.")
        if self.interpolation not in ("bilinear", "bicubic", "area", "lanczos3"):
            raise UserError(f"Preprocessing.interpolation is {self.interpolation!r}: use bilinear, bicubic, area or lanczos3.")

    @classmethod
    def of(cls, preprocessing: "str | Preprocessing | Mapping[str, Any] | None") -> "Preprocessing":
        """Returns the contract of a name in `PREPROCESSINGS` or of a saved configuration; None: the default."""
        if preprocessing is None:
            return cls()
        if isinstance(preprocessing, str):
            if preprocessing not in PREPROCESSINGS:
                raise UserError(f"Preprocessing {preprocessing!r} is unknown: use {', '.join(PREPROCESSINGS)}.")
            return PREPROCESSINGS[preprocessing]
        return preprocessing if isinstance(preprocessing, cls) else cls(**preprocessing)

    def to_config(self) -> dict[str, Any]:
        """Returns the fields as a plain dict of JSON types, which `of` reads back."""
        return {**dataclasses.asdict(self), "mean": list(self.mean), "std": list(self.std)}

    def resize_and_crop(self, image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
        """Resizes and centre-crops an RGB image for evaluation.

        Args:
          image: uint8 [h, w, 3], RGB, upright.
          size: (height, width) of the network's input.

        Returns:
          uint8 [height, width, 3]: the same pixels that an exported model takes.
        """
        h, w = tf.unstack(tf.cast(tf.shape(image)[:2], tf.float32))
        # The crop must lie inside the resized image on both axes; for a square input this is "short side = resize".
        factor = tf.maximum(size[0] / h, size[1] / w) * (self.resize / self.crop)
        resized = tf.maximum(tf.cast(tf.round(tf.stack([h, w]) * factor), tf.int32), size)
        pixels = tf.image.resize(image, resized, self.interpolation, antialias=self.antialias)
        offset = (resized - size) // 2
        pixels = tf.slice(pixels, [offset[0], offset[1], 0], [size[0], size[1], 3])
        return tf.saturate_cast(tf.round(pixels), tf.uint8)

    def normalize(self, images: tf.Tensor) -> tf.Tensor:
        """Returns the network's input, float32 [..., 3], of RGB `images` with values 0-255 of any type, [..., 3]."""
        factor, offset = self.affine()
        images = tf.cast(images, tf.float32) * factor + offset
        return images[..., ::-1] if self.channel_order == "bgr" else images

    def affine(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns factor and offset, float32 [3] in R, G, B order: input = pixel * factor + offset."""
        mean, std = tf.constant(self.mean), tf.constant(self.std)
        return self.scale / std, -mean / std


PREPROCESSINGS = {
    "tensorpack": Preprocessing(channel_order="bgr", interpolation="bicubic", antialias=False),
    "torchvision": Preprocessing(),
    "megvii": Preprocessing(channel_order="bgr", scale=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), antialias=False),
}
