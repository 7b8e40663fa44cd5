"""`python -m edgeemo.export`: `python -m export` of the checkout that edgeemo was installed from,
from any folder and under a name that nobody else's package has.
"""

from edgeemo.cli.checkout import export

if __name__ == "__main__":
    export()
