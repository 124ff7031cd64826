"""`python -m conjoin`: the command line."""

import sys

from conjoin.cli import main

if __name__ == "__main__":
    sys.exit(main())
