"""Run the plugin: `kubectl registry-mirror`."""

import sys

OLDEST = (3, 11)


def main() -> int:
    """Return the exit status. An older Python could not even import the rest."""
    if sys.version_info < OLDEST:
        sys.stderr.write("kubectl registry-mirror needs Python 3.11 or newer. Put a newer python3 first in PATH.\n")
        return 2
    from cli import program  # noqa: PLC0415 (after the check of the version)

    return program.main(sys.argv)


if __name__ == "__main__":
    sys.exit(main())
