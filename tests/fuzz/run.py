"""`python -m tests.fuzz.run TARGET [libFuzzer's options]`: one target, with our own code instrumented."""

from __future__ import annotations

import importlib
import sys

import atheris

OURS = ["common", "webhook", "controller", "hostess"]


def main() -> None:
    """Runs until libFuzzer ends the process."""
    program, target, *options = sys.argv
    with atheris.instrument_imports(include=OURS):
        module = importlib.import_module(f"tests.fuzz.{target}")
    atheris.Setup([program, *options], module.one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
