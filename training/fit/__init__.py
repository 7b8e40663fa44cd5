"""A recipe, and the loop that fits a network by it."""
