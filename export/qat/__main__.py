"""Has a trained network learn to be int8, so that a phone's fast integers give the answers of the float network.

The model of a training run, from itself and the labels of the images that it was trained on:
  python -m export.qat --model=runs/v2

Published weights, and any photos, which need no labels: the float network teaches its int8 self; a few hundred are enough:
  python -m export.qat --model=shufflenetv1_0.5x_Group3.pth.tar --dataset=PHOTOS --output_dir=runs/v1_int8

A run that was interrupted goes on when the same command is given again; --flagfile=FILE reads flags from a file, one a line.
Afterwards --output_dir (default: qat/ within the run, or beside the file) holds model_int8.tflite, which takes uint8 pixels
and has labels and metadata inside; int8_as_converted.tflite; model.npz, the weights before rounding; ranges.json;
labels.txt, history.csv, training.png, verify.json, verify.png, and report.md: float, post-training and trained int8 side by
side.
"""

import os
import sys

# tensorflow-model-optimization is written for Keras 2, which must be chosen before TensorFlow is loaded.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from export.qat import program

if __name__ == "__main__":
    sys.exit(program.run(__doc__, sys.argv))
