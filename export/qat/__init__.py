"""Quantization-aware training: adapts a trained network to int8, with labels or its float version as teachers.

    python -m export.qat --model=runs/v2 --dataset=shapes

It needs Keras 2 (tf_keras) throughout, because tensorflow-model-optimization requires it: see `__main__.py`.
"""
