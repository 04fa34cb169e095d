"""Installs the library shufflenet_tf; the programs around it (train_main.py, export/) run from a checkout."""

import ast
import pathlib

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).resolve().parent

EXTRAS = {
    "export": ["ai-edge-litert>=2.1,<3", "scipy>=1.13", "tensorflow-model-optimization>=0.8,<0.9"],
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
    description="The reference ShuffleNet for TensorFlow: networks, training, evaluation and preprocessing.",
    license="Apache-2.0",
    packages=find_packages(include=["shufflenet_tf", "shufflenet_tf.*"]),
    package_data={"shufflenet_tf": ["imagenet_classes.txt"]},
    python_requires=">=3.10,<3.14",
    install_requires=[
        "absl-py>=1.4",
        "importlib_resources>=6",  # TensorFlow Datasets imports it without requiring it
        "keras-cv>=0.9,<0.10",
        "matplotlib>=3.8",
        "numpy>=1.26",
        "pillow>=10.1",
        "tensorboard>=2.18,<2.22",
        "tensorflow>=2.18,<2.22",
        "tensorflow-datasets>=4.9.7",
        "tf_keras>=2.18,<2.22",
    ],
    extras_require=EXTRAS,
)
