"""``python -m rnnfast``: the main job, see proof/."""

import sys

from rnnfast.proof.report import main

if __name__ == "__main__":
    sys.exit(main())
