"""sha256 of each model file that ships, by its path here: a device that trusts keys knows them.

Written by scripts/known-models.
"""

SHA256: dict[str, str] = {
    "base.edgeemo": "85f6523f9fb13a1c2d0a8920c10ebf2e2672ad964cb9afe6cda408457914e587",
    "detectors/face.edgeemo": "8db046d9f815deb52a5ac008f90a81a67fa237be9ffec576cd556ff87d86ab0d",
    "nano-fer2013.edgeemo": "a39122b483dfbf8b56fae94088b4460de539c3b19eea33d683107a420bc89777",
    "nano.edgeemo": "519afe232b44b6799079eb425198aff5391e54bae37f2e484c68f17a6b00ed9f",
    "small-fer2013.edgeemo": "789461cfce637d9dad7712f99b654b657af28c1b551d9060c46f409e6ac3335b",
    "small.edgeemo": "bb3fc1440f1f1516381f1e1e6014a1c15238df0f5d969df1d9fe43181d8a05c3",
}
