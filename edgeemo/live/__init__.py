"""A camera watched over time: frames in, smoothed readings and events out."""
