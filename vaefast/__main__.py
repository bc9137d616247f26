"""`python -m vaefast` is the command line."""

import sys

from vaefast.cli import main

sys.exit(main())
