"""Bundles that do not ship, keys, and signatures of them."""

from pathlib import Path

from edgeemo.models import find_model
from export.signing.keys import make_key, open_private, private_text
from export.signing.sign import sign_bundle
from tests import support


def unsigned(out: Path, model: str = "nano") -> Path:
    """A whole bundle whose bytes are none of those that ship."""
    return support.rezip(find_model(model), out, lambda entries: None)


def key_pair(folder: Path, name: str) -> Path:
    """NAME.key and NAME.pub without a password; the path of the first."""
    folder.mkdir(exist_ok=True)
    return make_key(str(folder / name), None)[0]


def signed(bundle: Path, *keys: Path, out: Path | None = None) -> Path:
    """The bundle, signed by each of the keys."""
    target = out or bundle
    for i, key in enumerate(keys):
        private = open_private(*private_text(key)[:1], None, str(key))
        sign_bundle(target if i else bundle, target, private, key.stem)
    return target
