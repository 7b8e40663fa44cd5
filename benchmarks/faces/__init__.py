"""Where detectors put their boxes."""
