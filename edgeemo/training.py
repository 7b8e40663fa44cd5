"""`python -m edgeemo.training`: `python -m training` of the checkout that edgeemo was installed
from, from any folder and under a name that nobody else's package has.
"""

from edgeemo.cli.checkout import train

if __name__ == "__main__":
    train()
