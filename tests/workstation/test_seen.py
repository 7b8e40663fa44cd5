"""A bundle has not seen the test pictures of its own split, nor those that its report lists."""

from edgeemo.contract.answers import decode_ids
from edgeemo.contract.bundle import read_bundle
from edgeemo.models import find_model
from workstation.seen import unlisted


def test_pictures_of_the_same_split_or_listed_in_the_report_are_unseen() -> None:
    bundle = read_bundle(find_model("nano"))
    report = bundle.report()
    ids = decode_ids(report["pictures"]["ids"], report["n"], "nano")
    assert unlisted(bundle, bundle.manifest.data.split_hash, ["f" * 12]) == 0
    assert unlisted(bundle, "0" * 64, ids) == 0
    assert unlisted(bundle, "0" * 64, [*ids[:5], "f" * 12, "e" * 12]) == 2
