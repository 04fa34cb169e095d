"""Installs the library shufflenet_tf, the program train_main and the package export, with their commands.

The research that reruns the papers' comparisons (papers/, benchmarks/) and the Android app stay in the checkout.
"""

import ast
import pathlib

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).resolve().parent

COMMANDS = {
    "train": "train_main",
    "export": "export.tflite",
    "qat": "export.qat.__main__",
    "optimize": "export.optimize.__main__",
    "verify": "export.verify",
    "benchmark": "export.benchmark",
    "calibrate": "export.calibrate",
    "audit": "shufflenet_tf.audit.__main__",
    "card": "shufflenet_tf.card",
    "classify": "shufflenet_tf.classify",
    "complexity": "shufflenet_tf.complexity",
    "weights": "shufflenet_tf.weights.__main__",
}

EXTRAS = {
    "export": ["ai-edge-litert>=2.1,<3", "tensorflow-model-optimization>=0.8,<0.9"],
    "hub": ["huggingface_hub>=2,<3"],
    "dev": ["hypothesis>=6.100", "packaging>=23", "pytest>=8", "pytest-xdist>=3.5", "ruff>=0.15"],
}
EXTRAS["all"] = sorted({requirement for extra in EXTRAS.values() for requirement in extra})


def version() -> str:
    """Returns shufflenet_tf.__version__ without importing the package, which needs TensorFlow."""
    for node in ast.parse((ROOT / "shufflenet_tf" / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__":
            return ast.literal_eval(node.value)
    raise RuntimeError("shufflenet_tf/__init__.py sets no __version__.")


setup(
    name="shufflenet-tf",
    version=version(),
    description="The reference ShuffleNet for TensorFlow: networks, training, evaluation and export to phones.",
    license="Apache-2.0",
    packages=find_packages(include=["shufflenet_tf", "shufflenet_tf.*", "export", "export.*"]),
    py_modules=["train_main"],
    package_data={"shufflenet_tf": ["imagenet_classes.txt"], "export.optimize.targets": ["*.json"]},
    # Each module's `run` reads sys.argv and returns the exit status.
    entry_points={"console_scripts": [f"shufflenet-{name}={module}:run" for name, module in COMMANDS.items()]},
    python_requires=">=3.10,<3.14",
    install_requires=[
        "absl-py>=1.4",
        "flatbuffers>=24",
        "importlib_resources>=6",  # TensorFlow Datasets imports it without requiring it
        "keras-cv>=0.9,<0.10",
        "matplotlib>=3.8",
        "numpy>=1.26",
        "pillow>=10.1",
        "scipy>=1.13",
        "tensorboard>=2.18,<2.22",
        "tensorflow>=2.18,<2.22",
        "tensorflow-datasets>=4.9.7",
        "tf_keras>=2.18,<2.22",
    ],
    extras_require=EXTRAS,
)
