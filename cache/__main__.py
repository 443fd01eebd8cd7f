"""Run the cache: `python -m cache CONFIG.json`."""

import gc
import os
import sys

gc.disable()  # a tenth of the time of a start: imports create many objects, and all of them stay

from cache.main import main  # noqa: E402 (see above)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
