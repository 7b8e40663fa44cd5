"""A TUF repository of static files: made, published into, renewed, its keys rotated."""
