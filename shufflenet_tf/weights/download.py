"""Downloads weights: announces, verifies and caches them."""

import hashlib
import os
import pathlib
import sys
import urllib.error
import urllib.request

from shufflenet_tf import home
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import atomic_path

ADDRESS = "https://download.pytorch.org/models/"
# torchvision's files: name (its last part is the start of the content's SHA-256) and size in MiB.
IMAGENET = {
    "shufflenet_v2_0.5x": ("shufflenetv2_x0.5-f707e7126e.pth", 5.282),
    "shufflenet_v2_1.0x": ("shufflenetv2_x1-5666bf0f80.pth", 8.791),
    "shufflenet_v2_1.5x": ("shufflenetv2_x1_5-3c479a10.pth", 13.557),
    "shufflenet_v2_2.0x": ("shufflenetv2_x2_0-8be3c8ee.pth", 28.433),
}


def cache_folder() -> pathlib.Path:
    """Returns where downloads are kept: $SHUFFLENET_TF_CACHE, or a folder of the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or home.folder() / ".cache"
    return pathlib.Path(os.environ.get("SHUFFLENET_TF_CACHE") or pathlib.Path(cache) / "shufflenet_tf")


def imagenet_file(network: str, address: str | None = None) -> pathlib.Path:
    """Returns torchvision's checkpoint of a network, trained on ImageNet-1k; downloads it on first use.

    Args:
      network: name of the network.
      address: URL of the folder with the files; None: `ADDRESS`.

    Raises:
      UserError: there is none for this network, it can't be downloaded, or its content isn't what was published.
    """
    if network not in IMAGENET:
        raise UserError(
            f'weights="imagenet" means torchvision\'s, which exist for {", ".join(IMAGENET)} but not for {network}: '
            "give the path of a checkpoint."
        )
    name, size = IMAGENET[network]
    prefix = pathlib.Path(name).stem.rsplit("-", 1)[-1]
    path = cache_folder() / name
    if not path.exists():
        address = address or ADDRESS
        print(
            f"Downloading {address}{name} ({size:.1f} MiB, torchvision's weights, BSD-3) to {path}", file=sys.stderr, flush=True
        )
        _download(f"{address}{name}", path, round(size * 2**20))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not digest.startswith(prefix):
        raise UserError(f"{path} has the SHA-256 {digest[:16]}…, not {prefix}…, so it isn't what was published: delete it.")
    return path


def _download(url: str, path: pathlib.Path, expected: int) -> None:
    try:
        with urllib.request.urlopen(url, timeout=30) as response, atomic_path(path) as temporary:
            content = response.read(2 * expected)  # an endless answer must not fill the disk
            temporary.write_bytes(content)
            if abs(len(content) - expected) > 0.01 * expected:
                raise UserError(f"{url} gave {len(content):,} bytes instead of about {expected:,}: try again.")
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise UserError(f"{url} can't be fetched ({reason}): fetch it elsewhere and put it at {path}.") from None
