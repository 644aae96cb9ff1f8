"""`python -m batch`: the same as the command `sipbatch`."""

import sys

from batch.cli import main

sys.exit(main())
