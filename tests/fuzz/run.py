"""Fuzz one target with our code instrumented: `python -m tests.fuzz.run TARGET [libFuzzer's options]`."""

from __future__ import annotations

import importlib
import sys

import atheris

OURS = ["common", "webhook", "controller", "hostess"]


def main() -> None:
    """Run until libFuzzer ends the process."""
    program, target, *options = sys.argv
    with atheris.instrument_imports(include=OURS):
        module = importlib.import_module(f"tests.fuzz.{target}")
    atheris.Setup([program, *options], module.one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
