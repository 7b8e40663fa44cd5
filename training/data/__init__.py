"""Archives of faces in, prepared data out."""
