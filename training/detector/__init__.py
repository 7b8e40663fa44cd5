"""Face detectors of our own: pictures with boxes in, a run folder with a network that finds faces
out."""
