"""A page and a local API over one sensor: `edgeemo serve`."""
