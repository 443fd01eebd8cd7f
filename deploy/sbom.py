"""Write the bill of materials of an image (CycloneDX 1.6, JSON) while the image is built.

    python3 sbom.py webhook version.py /app/lib packages.json > sbom.cdx.json

It lists the program, its installed packages with the hash of their wheel (`pip install --report`), and the version of
Python. The rest of the base image is not listed. The same sources give the same bytes. Requires cyclonedx-python-lib
(requirements/sbom.txt).
"""

import json
import platform
import runpy
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

# A constant, so that builds are reproducible.
TIMELESS = datetime.fromtimestamp(0, UTC)
TROVE = "License :: "


def bill(program: str, version: str, packages: list[Component]) -> Bom:
    """Return the bill of one program's image, which depends on Python and on its packages."""
    ours = Component(
        type=ComponentType.APPLICATION,
        group="registry-mirror",
        name=program,
        version=version,
        bom_ref=f"registry-mirror/{program}",
        description="The program, its packages and Python. Other parts of the base image are not listed.",
    )
    parts = [_python(), *packages]
    known = " ".join([program, version, *(str(each.purl) for each in parts)])
    bom = Bom(serial_number=uuid5(NAMESPACE_URL, known), components=parts)
    bom.metadata.timestamp = TIMELESS
    bom.metadata.component = ours
    bom.register_dependency(ours, parts)
    return bom


def installed(folder: Path, hashes: Mapping[str, str]) -> list[Component]:
    """Return the packages in a folder. `hashes` (SHA-256) have keys `name==version`."""
    found = sorted(distributions(path=[str(folder)]), key=_reference)
    return [_package(one, hashes[_reference(one)]) for one in found]


def hashes_of(report: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of each file in pip's report, with keys `name==version`."""
    return dict(map(_hash, report["install"]))


def _hash(one: Mapping[str, Any]) -> tuple[str, str]:
    name, version = one["metadata"]["name"], one["metadata"]["version"]
    return f"{_normal(name)}=={version}", one["download_info"]["archive_info"]["hashes"]["sha256"]


def _package(one: Distribution, digest: str) -> Component:
    return Component(
        type=ComponentType.LIBRARY,
        name=_normal(one.name),
        version=one.version,
        purl=PackageURL("pypi", None, _normal(one.name), one.version),
        bom_ref=_reference(one),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
        licenses=_licenses(one),
    )


def _licenses(one: Distribution) -> Iterator[License]:
    """Yield the licences of a package: its SPDX expression, else its classifiers, else its free text."""
    factory = LicenseFactory()
    expressions, classifiers, texts = (
        [str(each) for each in one.metadata.get_all(field) or []]
        for field in ("License-Expression", "Classifier", "License")
    )
    troves = [each.rpartition(" :: ")[2] for each in classifiers if each.startswith(TROVE)]
    first_lines = [each.strip().split("\n")[0] for each in texts if each.strip()]
    yield from map(factory.make_from_string, expressions or troves or first_lines)


def _python() -> Component:
    version = platform.python_version()
    return Component(
        type=ComponentType.PLATFORM,
        name="python",
        version=version,
        purl=PackageURL("generic", None, "python", version),
        bom_ref=f"python=={version}",
        description="Part of the base image.",
    )


def _reference(one: Distribution) -> str:
    return f"{_normal(one.name)}=={one.version}"


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def main(program: str, version_module: str, folder: str | None = None, report: str | None = None) -> None:
    """Print the bill. A program without packages has no folder."""
    version = runpy.run_path(version_module)["VERSION"]
    packages = installed(Path(folder), hashes_of(json.loads(Path(report).read_text()))) if folder and report else []
    print(JsonV1Dot6(bill(program, version, packages)).output_as_string(indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
