"""`python -m sear COMMAND`: the program `sear` where it is not on the path."""

import sys

from sear.cli.commands import main

sys.exit(main())
