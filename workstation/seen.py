"""Whether a bundle may have seen the pictures that it is to be judged on."""

from collections.abc import Sequence

from edgeemo.contract.answers import decode_ids
from edgeemo.contract.bundle import Bundle


def unlisted(bundle: Bundle, split_hash: str, ids: Sequence[str]) -> int:
    """How many test pictures of these `picture_ids` the bundle may have learned from.

    None where it was trained on the very split of `split_hash`. Else those that its report does
    not list as its own test pictures: labels of training pictures, or where one of them lies, may
    differ from one machine to another, and make another hash.

    Raises:
        BundleError: its report is damaged.
    """
    if bundle.manifest.data.split_hash == split_hash:
        return 0
    report = bundle.report()
    pictures, count = report.get("pictures"), report.get("n")
    if not isinstance(pictures, dict) or type(count) is not int:
        return len(ids)
    listed = set(decode_ids(pictures.get("ids"), count, f"{bundle.path}: its report's pictures"))
    return sum(name not in listed for name in ids)
