"""What quantized models keep, cost and agree on."""
