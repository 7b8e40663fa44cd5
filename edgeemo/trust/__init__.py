"""Whose models run here: keys that the owner of a device trusts, and bundles read under them.

Everything outside of the contract reads bundles here, so that where keys are configured no other
bundle is parsed, whatever asks for it.
"""

from edgeemo.trust.keys import TrustedKeys as TrustedKeys
from edgeemo.trust.keys import configured_keys as configured_keys
from edgeemo.trust.reading import read_any as read_any
from edgeemo.trust.reading import read_bundle as read_bundle
from edgeemo.trust.reading import read_detector as read_detector
