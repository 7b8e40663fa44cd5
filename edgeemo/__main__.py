"""python -m edgeemo: the same as the installed program."""

from edgeemo.cli.main import run

if __name__ == "__main__":
    run()
