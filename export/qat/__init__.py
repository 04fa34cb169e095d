"""Quantization-aware training: a trained network learns to be int8, from labels or from its float version.

    python -m export.qat --model=runs/v2 --dataset=shapes

It needs Keras 2 (tf_keras) throughout, which tensorflow-model-optimization is written for: see `__main__.py`.
"""
