"""``python -m optemu``."""

import sys

from optemu.cli import main

sys.exit(main())
