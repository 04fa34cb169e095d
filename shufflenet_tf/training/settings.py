"""What a training run can be told: each option with its default, its bounds and its help."""

import dataclasses

from shufflenet_tf import options
from shufflenet_tf.errors import UserError
from shufflenet_tf.options import option
from shufflenet_tf.preprocessing import PREPROCESSINGS
from shufflenet_tf.training import schedules
from shufflenet_tf.training.transfer import FREEZE
from shufflenet_tf.wiring import WIRINGS

AUTO = "auto"
PAPER_RATE, PAPER_BATCH = 0.5, 1024  # both papers, section 4 and appendix
NETWORK = "shufflenet_v2_1.0x"  # where nothing else says which


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to train; --help and `option`'s sentences say what each field is.

    `weights` is the path of the weights that the network starts with, for the record; "": random.

    Raises:
      UserError: a value out of range.
    """

    batch_size: int = option(64, "Images a step, over all devices.", 1)
    epochs: float = option(30.0, "How often to go through the images; --steps overrides it.", 0)
    steps: int = option(0, "Training steps; 0: as --epochs says.", 0)
    steps_per_epoch: int = option(0, "Steps between two evaluations; 0: all images once.", 0)
    validation: float = option(
        0.1,
        "Part of the training images that is set aside to choose the best epoch on; 0: none, the last epoch is kept.",
        0,
        0.9,
    )
    checkpoint_steps: int = option(500, "Steps between two checkpoints.", 1)
    schedule: str = option("linear", "Decay of the learning rate; linear to zero is the papers'.", choices=schedules.KINDS)
    learning_rate: float | str = option(
        0.1,
        "Its highest value; auto: the papers' 0.5 for batches of 1024, in proportion to --batch_size.",
        1e-8,
        100,
        word=AUTO,
    )
    warmup_steps: int = option(0, "Steps in which the learning rate rises from zero.", 0)
    momentum: float = option(0.9, "Momentum of SGD, Nesterov's.", 0, 0.9999)
    weight_decay: float = option(4e-5, "Weight decay of convolutions and dense layers.", 0, 1)
    label_smoothing: float = option(0.0, "Part of the probability that is spread over all classes.", 0, 0.99)
    ema: float = option(0.0, "Decay per step of averaged weights, such as 0.999; 0: none.", 0, 0.999999)
    freeze: str = option(
        "none", "Layers that keep their weights: all before stage 4, or all but the classifier.", choices=FREEZE
    )
    backbone_rate: float = option(1.0, "Factor on the learning rate of all layers but the classifier.", 0, 1)
    layer_decay: float = option(1.0, "Factor on the learning rate from each stage to the one below it.", 0, 1)
    interpolate: bool = option(
        False,
        "Fine-tuning: in the end, move all layers but the classifier back towards their first weights, as far as that is not "
        "clearly worse on the validation images; it is often better for photos that are unlike the training photos.",
    )
    classifier_first: bool = option(
        False, "Fit a new classifier to the features of the trained layers first, then train all layers."
    )
    first_size: float = option(1.0, "Size of the images that training begins with, as a part of --image_size.", 0.2, 1)
    growth: float = option(0.75, "Part of the training in which images grow from --first_size; 0: they never do.", 0, 1)
    balance: bool = option(False, "Count rare classes as much as frequent ones.")
    patience: int = option(0, "Evaluations without a better one after which the training ends; 0: it never ends early.", 0)
    minutes: float = option(
        0.0, "Limit of the whole run, in minutes: the first steps are timed, and the training is shortened to it; 0: none.", 0
    )
    teacher: str | None = option(None, "Trained model of the same classes whose answers are learnt too (distillation).")
    temperature: float = option(2.0, "Distillation: divisor of the logits of both sides.", 0.1, 100)
    teacher_weight: float = option(0.5, "Distillation: part of the teacher in the loss of a labelled image.", 0, 1)
    unlabelled: str | None = option(
        None, "Distillation: folder of photos without labels, from which the teacher's answers are learnt."
    )
    sync_batch_norm: bool = option(
        False, "Normalize by the statistics of the whole batch, not of each device's part of it, with several devices."
    )
    xla: bool = option(False, "Compile the training step with XLA.")
    seed: int = option(0, "Seed of weights, order and augmentation; one above 2**32 - 1 counts by its remainder.", 0)
    tensorboard: bool = option(True, "Write event files for TensorBoard.")
    weights: str = ""

    def __post_init__(self):
        options.check(self)

    def for_images(self, images: int, name: str = "The dataset") -> "Settings":
        """Returns these settings with the number of steps that a training split of so many images takes.

        Raises:
          UserError: there are fewer images than a batch; `name` is the dataset's in the message.
        """
        if images < self.batch_size:
            raise UserError(
                f"{name} has {images} training images, fewer than a batch of {self.batch_size}: give a smaller --batch_size."
            )
        if self.learning_rate == AUTO:
            return self._with_rate().for_images(images, name)
        # Whole epochs as the evaluation counts them, so that the last one is complete.
        per_epoch = self.steps_per_epoch or max(1, images // self.batch_size)
        return self.shortened(self.steps or max(1, round(self.epochs * per_epoch)))

    def _with_rate(self) -> "Settings":
        """Returns these settings with a learning rate in proportion to the batch (Goyal et al. 2017, section 2.1)."""
        rate = PAPER_RATE * self.batch_size / PAPER_BATCH
        print(f"The learning rate is {rate:g}: {PAPER_RATE} for {PAPER_BATCH} images, in proportion to {self.batch_size}.")
        return dataclasses.replace(self, learning_rate=rate)

    def shortened(self, steps: int) -> "Settings":
        """Returns these settings for so many steps; a warm-up that would take them all takes half of them."""
        warmup = self.warmup_steps if self.warmup_steps < steps else steps // 2
        if warmup < self.warmup_steps:
            print(f"The warm-up of {self.warmup_steps} steps is longer than the training: it takes {warmup} of {steps} steps.")
        return dataclasses.replace(self, steps=steps, warmup_steps=warmup)


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """What to train on which images, and where the results go; --help and `option`'s sentences say what each field is.

    Raises:
      UserError: a value out of range.
    """

    network: str | None = option(None, f"Registered network; without it, that of --weights, or {NETWORK}.")
    weights: str | None = option(
        None, "Trained weights to start with: a run, a .keras, .npz, .pth or .pth.tar file, hf://USER/NAME, imagenet, or none."
    )
    choose: bool = option(False, "Choose all that isn't given from the number of photos and classes.")
    budget: str | None = option(
        None,
        "With --choose: what the int8 model may cost, such as 8ms (on --target) or 3MB; the best network within it is taken.",
    )
    target: str = option("phone", "Processor that --budget and --export are for; see python -m export.tflite --help.")
    wiring: str | None = option(
        None,
        "Whose details of the architecture to follow; without it, those of --weights, or the network's.",
        choices=[*WIRINGS],
    )
    preprocessing: str | None = option(
        None, "Whose scale and channel order; without it, that of --weights, or torchvision's.", choices=[*PREPROCESSINGS]
    )
    crop_fraction: float = option(0.875, "Evaluation: part of the shorter side that the centre crop takes.", 0.1, 1)
    data_dir: str | None = None
    cache: str = option(
        "auto",
        "Where files are kept once they are read: auto (small TensorFlow Datasets in memory), none, memory, or a folder.",
    )
    data_service: str | None = option(
        None, "tf.data service that reads and augments the training images, grpc://HOST:PORT; see shufflenet_tf.data.service."
    )
    strict: bool = option(False, "Stop at a photo that can't be used instead of skipping it.")
    keep_copies: bool = option(False, "Own photos: leave copies of training photos among the test photos.")
    output: str = option("runs/latest", "Folder of the run; an interrupted run in it goes on.")
    overwrite: bool = option(False, "Remove what --output holds of an earlier run and start afresh.")
    deterministic: bool = option(False, "Equal weights to the last bit for equal flags, also after an interruption.")
    strategy: str = option(
        "none",
        "mirrored: all GPUs of this machine; multi_worker: the workers of TF_CONFIG or of a SLURM step; tpu: see --tpu.",
        choices=["none", "mirrored", "multi_worker", "tpu"],
    )
    tpu: str = option("local", "With --strategy=tpu: name of the TPU, or local on a TPU virtual machine.")
    cluster_timeout: float = option(
        300.0, "With --strategy=multi_worker: seconds for which workers wait for each other at the start.", 1
    )
    mixed_precision: str = option("none", "Type of the activations in training.", choices=["none", "float16", "bfloat16"])
    coverage: float = option(
        0.95, 'Share of the validation images that is to be answered; to the rest, the answer is "not sure"; 1: all.', 0.5, 1
    )
    folds: int = option(0, "Cross-validation: also train this many models, each tested on its own part of the photos.", 0, 100)
    fold: str = ""  # the one of a run of cross-validation, such as "1/5"
    saved_model: bool = option(True, "Write a SavedModel besides the Keras file.")

    def __post_init__(self):
        options.check(self)
        if self.deterministic and self.data_service:
            raise UserError(
                "--deterministic can't be had with --data_service, whose workers give batches in the order of their speed: "
                "leave one of them out."
            )
