"""sha256 of each model file that ships, by its path here: a device that trusts keys knows them.

Written by scripts/known-models.
"""

SHA256: dict[str, str] = {
    "base.edgeemo": "85f6523f9fb13a1c2d0a8920c10ebf2e2672ad964cb9afe6cda408457914e587",
    "detectors/face-nano.edgeemo": "2619517257d89635713467d86f61fdac85f7de612da18a1b1e7e569afcbbb579",
    "detectors/face.edgeemo": "41bc2b46b372e721754c37cb67b6d2a8f87475299304c4a1794ff79b3fc585f4",
    "nano-fer2013.edgeemo": "a39122b483dfbf8b56fae94088b4460de539c3b19eea33d683107a420bc89777",
    "nano.edgeemo": "519afe232b44b6799079eb425198aff5391e54bae37f2e484c68f17a6b00ed9f",
    "small-fer2013.edgeemo": "789461cfce637d9dad7712f99b654b657af28c1b551d9060c46f409e6ac3335b",
    "small.edgeemo": "bb3fc1440f1f1516381f1e1e6014a1c15238df0f5d969df1d9fe43181d8a05c3",
}
