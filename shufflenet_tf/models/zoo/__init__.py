"""The networks that the ShuffleNet papers compare with, and ShuffleNet's later and larger relatives.

They are built from the layers of this library. The exceptions are MobileNet V1 and V2, Xception, ResNet-50 and VGG-16, which
keras.applications has exactly as published (`applications`). It also has MobileNet V3, but the two generations of Keras name
it differently.

Left out, because the publications don't define them:
  CondenseNet (V2, table 8): which channels each group reads is a result of its training, which prunes.
  IGCV2 (V2, table 8): its paper gives the costs of its ImageNet networks, not their widths and branches.
  NASNet-A and PNASNet-5 (V2, table 8) and GoogLeNet (V1, table 6) are quoted by the papers as published elsewhere.

Our counts compared with the papers' figures (`python -m shufflenet_tf.complexity NAME`; multiply-adds at 224 px):
  V1 0.25x, "13M": 11.0 to 13.0M; no rounding of a quarter of the channels gives 13M for all numbers of groups.
  V1-50, "2.3G": 2.37G with bottlenecks of half; the quarter that the paper states would give half of that. The paper doesn't
    say how the 64 channels of pool1 are added to the 360 of stage 1: here, a 1x1 convolution projects them for 0.07G.
  V2 + SE, "597M", and SE-V2-164, "12.7G": equal if squeeze-and-excitation follows the concatenation, with half as many
    channels inside; on the main branch alone, it would cost less.
  MobileNet V2 0.15, 0.4 at 160 px, 0.6 and 0.75 at 192 px: 31, 41, 151 and 154M with its authors' rounding; 39, 43, 141 and
    145M in V2's paper, whose authors trained their own versions.
  IGCV3-D 0.7, 1.0 and 1.4: 175, 313 and 590M; 210, 318 and 610M in the papers. Its parameters equal those of other
    implementations.
  Xception at 299 px: 8,357.4M; 8,403.6M in pytorchcv's list, which counts half of all floating-point operations instead of
    multiply-adds: also normalization, ReLU and pooling (counted so, the number is the same; tests/models/zoo/test_figures.py).
  VGG-16, "15300M": the convolutions alone; with dense layers 15470M.
"""
