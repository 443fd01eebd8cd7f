"""`make audit`: asks a database of vulnerabilities about every package of every lock, by pip-audit.

It ends in 0 where all were asked for and none has a known one, in 1 where some have, and in 2 where not all could be
asked for: then nobody knows, which must not look like a pass.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from common.types import Json

LOCKS = Path(__file__).parent / "requirements"
VULNERABLE, UNKNOWN = 1, 2
# OSV rather than pip-audit's default, PyPI: a mirror of that may answer without the vulnerabilities, as if there were
# none. PIP_AUDIT_VULNERABILITY_SERVICE and PIP_AUDIT_OSV_URL name another.
DEFAULTS = {"PIP_AUDIT_VULNERABILITY_SERVICE": "osv"}


def audit(lock: Path, environment: Mapping[str, str]) -> list[Json] | str:
    """Return the packages of a lock with their vulnerabilities, or why they could not all be asked for."""
    options = ["--strict", "--disable-pip", "--require-hashes", "--progress-spinner=off", "--format=json"]
    command = [sys.executable, "-m", "pip_audit", *options, f"--requirement={lock}"]
    done = subprocess.run(
        command, env={**DEFAULTS, **environment}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    try:
        packages: list[Json] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        return (done.stderr.strip() or "pip-audit said nothing").splitlines()[-1]
    return packages


def report(lock: Path, found: list[Json] | str) -> int:
    """Print what was found of a lock; return the exit status that it means."""
    if isinstance(found, str):
        print(f"{lock.name}: not audited, the database of vulnerabilities did not answer for all packages: {found}")
        return UNKNOWN
    bad = [(each, one) for each in found for one in each["vulns"]]
    for each, one in bad:
        mended = ", ".join(one["fix_versions"]) or "no version yet"
        print(f"{lock.name}: {each['name']} {each['version']} has {one['id']}; mended in {mended}")
    print(f"{lock.name}: {len(found)} packages asked for, {len(bad)} known vulnerabilities")
    return VULNERABLE if bad else 0


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Audit all locks; return the worst that was found."""
    return max(report(lock, audit(lock, environment)) for lock in sorted(LOCKS.glob("*.txt")))


if __name__ == "__main__":
    sys.exit(main())
