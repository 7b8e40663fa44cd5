"""Keys and signatures of bundles: the private side, which stays off devices."""
