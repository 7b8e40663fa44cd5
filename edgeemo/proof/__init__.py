"""What a model scores, and whether this machine answers as its bundle promises."""
