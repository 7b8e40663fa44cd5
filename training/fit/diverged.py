"""What a training that comes to nothing raises."""

from edgeemo.errors import RunError


class Diverged(RunError):
    """The loss became infinite or no number."""
