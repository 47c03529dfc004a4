"""`python -m libevrpc.cli`."""

import sys

from libevrpc.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
