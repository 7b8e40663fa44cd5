"""Models fetched from a repository of The Update Framework (TUF): any web server, folder or stick."""
