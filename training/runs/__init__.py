"""Run folders: what a training leaves behind, read, judged and drawn."""
