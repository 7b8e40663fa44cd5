"""A trained face detector as a bundle: int8, held to the float network on frames kept apart."""
