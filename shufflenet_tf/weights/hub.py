"""Models that people share on the Hugging Face Hub, by address: hf://USER/NAME, or hf://USER/NAME@REVISION.

A shared model is a repository that `shufflenet_tf.card` has made: its weights.npz holds plain arrays and the network's
configuration, and no code; SHA256SUMS says what the files must be.
"""

import hashlib
import os
import pathlib
import re
import sys

from shufflenet_tf.errors import UserError

WEIGHTS, SUMS = "weights.npz", "SHA256SUMS"
_ADDRESS = re.compile(r"hf:/{1,2}([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")  # pathlib.Path makes one slash of two
_MOST = 1 << 20  # bytes of a list of checksums


def is_address(path: str | os.PathLike) -> bool:
    """Returns whether a path is an address on the Hub."""
    return os.fspath(path).startswith("hf:/")


def name_of(address: str | os.PathLike) -> str:
    """Returns the repository's name without its owner.

    Raises:
      UserError: the address has another form.
    """
    return _parts(address)[0].partition("/")[2]


def weights_file(address: str | os.PathLike) -> pathlib.Path:
    """Returns the path of a shared model's weights; downloads them where they are not in the Hub's cache yet.

    The variables of huggingface_hub choose another server or cache: HF_ENDPOINT, HF_HUB_CACHE, HF_TOKEN, HF_HUB_OFFLINE.

    Args:
      address: hf://USER/NAME, with @REVISION (a branch, a tag or a commit) or without: the newest.

    Raises:
      UserError: huggingface_hub is not installed, the address is none, there is no such model, it can't be fetched, or it
        isn't what its checksums say.
    """
    name, revision = _parts(address)
    address = f"hf://{name}{'@' + revision if revision else ''}"
    try:
        import huggingface_hub
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    except ModuleNotFoundError:
        raise UserError(
            f"{address} needs huggingface_hub, which is not installed: run `pip install huggingface_hub`."
        ) from None
    server = os.environ.get("HF_ENDPOINT") or huggingface_hub.constants.ENDPOINT
    places = {"endpoint": server, "cache_dir": os.environ.get("HF_HUB_CACHE"), "library_name": "shufflenet_tf"}
    try:
        found = huggingface_hub.hf_hub_download(name, WEIGHTS, revision=revision, dry_run=True, **places)
        if not found.is_cached:
            size = f"{found.file_size / 2**20:.1f} MiB" if found.file_size else "of unknown size"
            print(
                f"Downloading {address}, {WEIGHTS} ({size}, revision {found.commit_hash[:12]}), from {server}",
                file=sys.stderr,
                flush=True,
            )
        weights = pathlib.Path(huggingface_hub.hf_hub_download(name, WEIGHTS, revision=revision, **places))
        # Of the commit that the cache's folder is named by, as somebody may upload another one at this moment.
        sums = pathlib.Path(huggingface_hub.hf_hub_download(name, SUMS, revision=weights.parent.name, **places))
    except LocalEntryNotFoundError as error:
        reason = error.__cause__ or error
        raise UserError(f"{address} can't be fetched ({_first_line(reason)}): check the connection, or try later.") from None
    except EntryNotFoundError as error:
        missing = SUMS if SUMS in str(error) else WEIGHTS
        raise UserError(
            f"{address} has no {missing}: give a model that `python -m shufflenet_tf.card` has made, or download a file of it "
            "and give its path."
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{address} can't be fetched ({_first_line(error)}): check the name and the revision.") from None
    _check(address, weights, sums)
    return weights


def _parts(address: str | os.PathLike) -> tuple[str, str | None]:
    match = _ADDRESS.fullmatch(os.fspath(address))
    if match is None:
        raise UserError(f"{os.fspath(address)} is no address on the Hub: give hf://USER/NAME or hf://USER/NAME@REVISION.")
    return match[1], match[2]


def _check(address: str, weights: pathlib.Path, sums: pathlib.Path) -> None:
    with open(sums, "rb") as file:
        lines = file.read(_MOST).decode(errors="replace").splitlines()
    expected = {name.strip().lstrip("*"): digest for digest, _, name in (line.partition(" ") for line in lines)}.get(WEIGHTS)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    if digest != expected:
        state = f"and not {expected[:16]}…" if expected else f"and {SUMS} has none"
        raise UserError(
            f"{WEIGHTS} of {address} has the SHA-256 {digest[:16]}… {state}: it is damaged, or was changed after it was "
            f"shared; delete {weights.resolve()} and try again."
        )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".:")
