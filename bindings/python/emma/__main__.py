"""``python -m emma``: see ``python -m emma --help``."""

import sys

from ._run import main

sys.exit(main())
