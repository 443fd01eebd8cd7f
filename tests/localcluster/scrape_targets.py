"""Keep the targets of Prometheus up to date with the pods of a namespace.

`python -m tests.localcluster.scrape_targets KUBECTL NAMESPACE FILE`
"""

import json
import subprocess
import sys
import time
from pathlib import Path

from tests.localcluster.scraping import target_groups

INTERVAL = 3.0  # seconds between two looks at the pods


def main(kubectl: str, namespace: str, name: str) -> None:
    """Write the targets again and again until this process is ended."""
    file = Path(name)
    while True:
        command = [kubectl, "--namespace", namespace, "get", "pods", "--output=json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
        if done.returncode == 0:  # else the API server does not answer
            temporary = file.with_suffix(".new")
            temporary.write_text(json.dumps(target_groups(json.loads(done.stdout)["items"])))
            temporary.rename(file)
        time.sleep(INTERVAL)


if __name__ == "__main__":
    main(*sys.argv[1:])
