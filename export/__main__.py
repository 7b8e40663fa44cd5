"""python -m export."""

from export.cli.main import run

if __name__ == "__main__":
    run()
