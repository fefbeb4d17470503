"""Images in tests: Docker builds and runs them, or buildah and chroot if no engine can run."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from scripts.check_template import ROOT
from tests.real.base_images import BASE, UV, WITH_POETRY, are_made_here, provide
from tests.real.docker import STORE
from tests.support.commands import run
from tests.support.installing import POETRY_INDEX
from tests.support.tools import require, require_root

# Paths in the container, and the files of this machine that are mounted there.
Volumes = Mapping[str, Path]

# A process of the image's user on a read-only disk. It receives signals itself.
READ_ONLY: Final = """
PATH=$PATH:/usr/sbin:/sbin
root=$1 user=$2
shift 2
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount --bind /dev "$root/dev"
mount --bind /proc "$root/proc"
while [ "$1" != -- ]; do
    mount --bind "$1" "$root$2"
    shift 2
done
shift
exec chroot --userspec="$user" "$root" env --ignore-environment "$@"
"""


@dataclass(frozen=True)
class Image:
    """A built image. config: the configuration that Docker's `inspect` returns."""

    engine: "Engine"
    name: str
    config: Mapping[str, Any]

    def command(
        self,
        *command: str,
        settings: Mapping[str, str] | None = None,
        volumes: Volumes | None = None,
        user: str | None = None,
    ) -> list[str]:
        """Return the command that runs another command in the image on a read-only disk.

        It uses this machine's network, and has the same exit code and the same reaction to signals.
        """
        user = user or self.config["User"] or "0"
        return self.engine.command(self, command, settings or {}, volumes or {}, user)

    def run(
        self,
        *command: str,
        settings: Mapping[str, str] | None = None,
        volumes: Volumes | None = None,
        user: str | None = None,
        text: str | None = None,
    ) -> str:
        """Run a command in the image, and return its output."""
        line = self.command(*command, settings=settings, volumes=volumes, user=user)
        return run(line, ROOT, text=text)

    def megabytes(self) -> int:
        """Return the size of all files in megabytes."""
        measure = ["du", "--summarize", "--one-file-system", "--block-size=1M", "/"]
        return int(self.run(*measure, user="0").split()[0])


class Engine(Protocol):
    """A tool that builds images and runs commands in them."""

    def build(self, folder: Path, name: str) -> Image:
        """Build a folder's Dockerfile. Fail with the output."""

    def fail_to_build(self, folder: Path) -> str:
        """Build a folder's Dockerfile, which must fail, and return the output."""

    def base(self) -> Image:
        """Return the base image of the others."""

    def command(
        self,
        image: Image,
        command: Sequence[str],
        settings: Mapping[str, str],
        volumes: Volumes,
        user: str,
    ) -> list[str]:
        """See `Image.command`."""

    def remove(self, image: Image) -> None:
        """Remove an image and its container."""


class Docker:
    """A Docker engine."""

    def build(self, folder: Path, name: str) -> Image:
        run([*self._build(folder), f"--tag={name}", "."], folder)
        return self._image(name)

    def fail_to_build(self, folder: Path) -> str:
        return run([*self._build(folder), "--progress=plain", "."], folder, exit_code=1)

    def base(self) -> Image:
        provide(BASE)
        return self._image(BASE)

    def command(
        self,
        image: Image,
        command: Sequence[str],
        settings: Mapping[str, str],
        volumes: Volumes,
        user: str,
    ) -> list[str]:
        docker = ["docker", "run", "--rm", "--interactive", "--read-only", "--network=host"]
        docker += [f"--user={user}"]
        docker += [f"--env={name}={value}" for name, value in settings.items()]
        docker += [f"--volume={here}:{there}" for there, here in volumes.items()]
        return [*docker, image.name, *command]

    def remove(self, image: Image) -> None:
        if image.name != BASE:
            run(["docker", "image", "rm", "--force", image.name], ROOT)

    def _build(self, folder: Path) -> list[str]:
        provide(BASE, UV)
        build = ["docker", "build", "--network=host"]
        dockerfile = (folder / "Dockerfile").read_text(encoding="utf-8")
        if (folder / "poetry.toml").exists() and are_made_here():
            # Only the first stage installs.
            provide(WITH_POETRY)
            changed = folder / "Dockerfile.with-poetry"
            changed.write_text(dockerfile.replace(BASE, WITH_POETRY, 1), encoding="utf-8")
            build += [f"--file={changed}"]
        return build

    def _image(self, name: str) -> Image:
        config = run(["docker", "image", "inspect", "--format={{json .Config}}", name], ROOT)
        return Image(self, name, json.loads(config))


@dataclass
class Buildah:
    """Buildah as root, without a daemon, a registry or a runtime. It builds its own base images."""

    roots: dict[str, Path] = field(default_factory=dict)

    def make_bases(self) -> None:
        """Build the base images if they do not exist."""
        script = Path(__file__).with_name("base_image.sh")
        images = [BASE, UV, str(Path(sys.executable).parent), WITH_POETRY]
        run([script, STORE, *images, *POETRY_INDEX.values()], ROOT)
        # Remove the leftovers of interrupted runs and failed builds. Nothing else uses this store.
        run(self._buildah("rm", "--all"), ROOT)

    def build(self, folder: Path, name: str) -> Image:
        run([*self._build(folder), f"--tag={name}"], folder)
        return self._image(name)

    def fail_to_build(self, folder: Path) -> str:
        # A step's own exit code is the build's.
        return run(self._build(folder), folder, exit_code=1)

    def base(self) -> Image:
        return self._image(BASE)

    def command(
        self,
        image: Image,
        command: Sequence[str],
        settings: Mapping[str, str],
        volumes: Volumes,
        user: str,
    ) -> list[str]:
        root = self.roots[image.name]
        mounts: list[str] = []
        for there, here in volumes.items():
            place = root / there.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
            mounts += [str(here), there]
        environment = [*image.config["Env"], *(f"{name}={it}" for name, it in settings.items())]
        folder = f"--chdir={image.config.get('WorkingDir') or '/'}"
        inside = [
            "unshare",
            "--mount",
            "sh",
            "-ec",
            READ_ONLY,
            "sh",
            str(root),
            user,
            *mounts,
            "--",
        ]
        return [*inside, folder, *environment, *command]

    def remove(self, image: Image) -> None:
        self.roots.pop(image.name)
        run(self._buildah("rm", self._container(image.name)), ROOT)
        if image.name != BASE:
            run(self._buildah("rmi", image.name), ROOT)

    def _buildah(self, *arguments: str) -> list[str]:
        store = [f"--root={STORE / 'root'}", f"--runroot={STORE / 'run'}", "--storage-driver=vfs"]
        return ["buildah", *store, *arguments]

    def _build(self, folder: Path) -> list[str]:
        build = self._buildah("bud", "--isolation=chroot", "--format=docker")
        # It replaces only the first base image, which is that of the installing stage.
        poetry = (folder / "poetry.toml").exists()
        return [*build, f"--from={WITH_POETRY}"] if poetry else build

    def _container(self, name: str) -> str:
        return "tests-" + re.sub(r"\W+", "-", name)

    def _image(self, name: str) -> Image:
        container = self._container(name)
        subprocess.run(
            self._buildah("rm", container), capture_output=True
        )  # from an interrupted run
        run(self._buildah("from", f"--name={container}", "--pull-never", name), ROOT)
        self.roots[name] = Path(run(self._buildah("mount", container), ROOT).strip())
        details = json.loads(run(self._buildah("inspect", "--type=image", name), ROOT))
        return Image(self, name, details["Docker"]["config"])


def find_engine(why_no_docker: str | None) -> Engine:
    """Return the engine that builds images here: Docker, or else buildah, which needs root.

    why_no_docker: None if a Docker engine responds.
    """
    if why_no_docker is None:
        return Docker()
    require_root(f"{why_no_docker}; buildah would need root too")
    for command in ("buildah", "debootstrap"):
        require(command)
    buildah = Buildah()
    buildah.make_bases()
    return buildah
