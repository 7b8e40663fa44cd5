"""The fast path: a whole epoch as one compiled program under JAX, and the family trained by it."""
