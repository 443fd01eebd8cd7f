"""Build the images of our programs from their Dockerfiles, with buildah on Debian's Python; cached."""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from common import version
from tests.localcluster.build import cache_folder
from tests.localcluster.errors import LocalClusterError
from tests.localcluster.locks import exclusive
from tests.localcluster.node import debian, images
from tests.localcluster.node.pipconfig import mounts

REPOSITORY = Path(__file__).parents[3]
REGISTRY = "local.test"
VERSION = version.VERSION  # of a release
MORE_FOLDERS = {"cache": ("hostess",)}  # that an image has beside those of its program
SCRIPTS = ("deploy/sbom.py", "deploy/wheels.py")  # used by the Dockerfiles
TRUST_ALL = {"default": [{"type": "insecureAcceptAnything"}]}  # local images are not signed


def image_name(program: str) -> str:
    """Return the name of the image of `webhook`, `controller`, ..., as in a release for the registry."""
    return f"{REGISTRY}/registry-mirror/{program}:{VERSION}"


def build(program: str, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the docker archive of a program's image; build it if the cache lacks it.

    Raises LocalClusterError with the message of buildah.
    """
    debian.install()
    base, build_base = (images.python_image(with_pip=pip, environment=environment) for pip in (False, True))
    key = _key(program, [base.name, build_base.name])
    path = cache_folder(environment) / "images" / f"{program}-{key}.tar"
    with exclusive(path.parent / "dockerfiles.lock", "another build of the images"):
        if not path.exists():
            print(f"Building the image of {program} from its Dockerfile.", file=sys.stderr, flush=True)
            _build(program, [base, build_base], path)
    return path


def unpacked_over_base(archive: Path, environment: Mapping[str, str] = os.environ) -> int:
    """Return the unpacked bytes of an image's layers that its base lacks."""
    base = {layer.name for layer in _layers(images.python_image(environment=environment))}
    return sum(layer.size for layer in _layers(archive) if layer.name not in base)


def content(archive: Path, path: str) -> bytes:
    """Return a file in an image; raises FileNotFoundError if no layer has it."""
    with tarfile.open(archive) as packed:
        manifest = packed.extractfile("manifest.json")
        for name in reversed(json.load(manifest)[0]["Layers"] if manifest else []):
            with tarfile.open(fileobj=packed.extractfile(name)) as layer:
                if path in layer.getnames() and (found := layer.extractfile(path)):
                    return found.read()
    raise FileNotFoundError(f"{path} in {archive}")


def _layers(archive: Path) -> list[tarfile.TarInfo]:
    """Return the layers of an archive, with digest as name and unpacked size."""
    found = []
    with tarfile.open(archive) as packed:
        manifest = packed.extractfile("manifest.json")
        names = json.load(manifest)[0]["Layers"] if manifest else []
        for name in names:
            layer = packed.extractfile(name)
            content = layer.read() if layer else b""
            member = tarfile.TarInfo(hashlib.sha256(content).hexdigest())
            member.size = len(content)
            found.append(member)
    return found


def _key(program: str, bases: Sequence[str]) -> str:
    sources = [REPOSITORY / name for name in (f"Dockerfile.{program}", *SCRIPTS)]
    # The node agent has no packages.
    sources += [
        path
        for path in (REPOSITORY / "deploy" / "requirements" / f"{name}.txt" for name in (program, "sbom"))
        if path.exists()
    ]
    for folder in ("common", program, *MORE_FOLDERS.get(program, ())):
        sources += sorted(path for path in (REPOSITORY / folder).rglob("*") if _counts(path))
    digests = [f"{path.relative_to(REPOSITORY)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in sources]
    return hashlib.sha256(json.dumps([image_name(program), *bases, *digests]).encode()).hexdigest()[:16]


def _counts(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def _build(program: str, bases: Sequence[Path], path: Path) -> None:
    """Build in a temporary store; a permanent one grows with each change."""
    with tempfile.TemporaryDirectory(prefix="registry-mirror-buildah-") as name:
        folder = Path(name)
        policy = folder / "policy.json"
        policy.write_text(json.dumps(TRUST_ALL))
        store = ["--root", f"{folder}/root", "--runroot", f"{folder}/run", "--storage-driver", "vfs"]
        buildah = ["buildah", *store]
        trust = f"--signature-policy={policy}"
        for base in bases:
            _run([*buildah, "pull", "--quiet", trust, f"docker-archive:{base}"])
        arguments = (f"BASE={images.PYTHON_IMAGE}", f"BUILD_BASE={images.PYTHON_BUILD_IMAGE}")
        options = [f"--build-arg={each}" for each in arguments] + [f"--volume={each}" for each in mounts(folder)]
        options += ["--isolation=chroot", "--network=host", "--pull-never", "--quiet", trust]
        dockerfile = REPOSITORY / f"Dockerfile.{program}"
        _run([*buildah, "build", *options, f"--file={dockerfile}", f"--tag={image_name(program)}", str(REPOSITORY)])
        part = path.with_name(path.name + ".part")
        part.unlink(missing_ok=True)
        _run([*buildah, "push", "--quiet", trust, image_name(program), f"docker-archive:{part}:{image_name(program)}"])
        part.rename(path)


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LocalClusterError(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()[-3000:]}")
