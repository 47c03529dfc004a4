"""`python -m libevrpc.cli`."""

from __future__ import annotations

import sys

from libevrpc.cli.main import main

sys.exit(main())
