"""Who has signed a model.bin, as verbs ask and say it."""

from collections.abc import Sequence
from typing import Any

Rows = list[dict[str, Any]]


def signature_rows(image: bytes, keys: Sequence[str]) -> Rows:
    """Each signature of a model.bin: its key's id and name, and whether it is "right", "wrong" or
    "not trusted here".

    Args:
        image: with its signatures.
        keys: files of public keys, NAME.pub, or folders of them.

    Raises BundleError, InvalidInput, MissingFile, MissingDependency.
    """
    from edgeemo.firmware.image_signature import signed_part, split_image
    from edgeemo.trust.image_keys import image_keys, signers_of_image

    bare, signatures = split_image(image)
    trusted = image_keys(keys)
    by_key = {one.key: one.signature for one in signatures}
    right = {key.id for key in signers_of_image(by_key, signed_part(bare), trusted)}
    names = {key.id: key.name for key in trusted}
    return [
        {"key": one.key, "name": names.get(one.key), "state": state_of(one.key, right, names)}
        for one in signatures
    ]


def state_of(key: str, right: set[str], names: dict[str, str]) -> str:
    """What a signature is worth, by the id of its key."""
    return "right" if key in right else "wrong" if key in names else "not trusted here"


def check_signed(file: str, image: bytes, keys: Sequence[str]) -> None:
    """Raise UntrustedModel unless one of `keys` has signed a model.bin; BundleError where it is
    damaged, or a signature of it.

    Without keys, where the device trusts some: those sign bundles, and no image.
    """
    from edgeemo.errors import UntrustedModel
    from edgeemo.firmware.image_signature import split_image
    from edgeemo.trust import configured_keys

    split_image(image)
    if keys:
        rows = signature_rows(image, keys)
        if not any(row["state"] == "right" for row in rows):
            told = [f"one of {row['key'][:16]} that is {row['state']}" for row in rows]
            raise UntrustedModel(
                f"{file}: expected a signature of {', '.join(keys)}, received "
                f"{', '.join(told) or 'none'}; sign it with: python -m export sign"
            )
    elif trusted := configured_keys():
        raise UntrustedModel(
            f"{file}: expected a bundle signed by {trusted}, received an image, which their keys "
            "cannot sign; flash the signed bundle itself, or say with --key NAME.pub whose image "
            "it must be"
        )
