"""One file per verb of python -m training, each importing what it needs when it runs."""
