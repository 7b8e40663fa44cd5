"""Models that were trained elsewhere, brought into our contract: pixels in, logits out."""
