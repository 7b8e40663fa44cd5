"""A model's interpreter in a process of its own, watched: a hang or a crash takes that alone."""
