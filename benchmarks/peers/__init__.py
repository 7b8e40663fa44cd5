"""Other packages for the same job, each in an environment of its own, measured alike."""
