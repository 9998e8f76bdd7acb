"""Executes a Containerfile's steps where no builder of images is: each step in a root file system of its own.

A step's changes are a layer in memory, over those of the steps before it and, in place of the Python image, over this machine's root file
system: with the Python of these tests as ``python``, without this repository, home folders and users of people. Steps have no network;
pip finds what it needs in a folder of wheels.

::

    with Builder(tmp_path, ROOT, wheelhouse) as builder:
        image = builder.build(text, "node")     # tests/containers/running.py runs it
"""

from __future__ import annotations

import io
import itertools
import os
import re
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

import pytest

from tests.cluster.hosts import require
from tests.containers.containerfile import NotUnderstood, chain, expand, flags_of, in_context, read, settings, words_of
from tests.containers.containerfile import argument as argument_of

PYTHON = f"{sys.base_prefix}/bin/python3.{sys.version_info[1]}"
PROGRAMS = ("unshare", "nsenter", "setpriv")
STEP_S = 200.0
#: Of the images of Python.
BASE_ENV = {"PATH": "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}

#: Makes the file system of images, and keeps it until its input ends.
HOLD = 'mount -t tmpfs -o size=4g images "$1" && echo ready && read -r _'

#: Enters a root file system and executes a program in it. Arguments: the mount point, lower layers, upper layer, what to hide, the
#: Python's folder, commands of further mounts, then the program.
ENTER = """
set -e
root="$1"; mount -t overlay -o "lowerdir=$2,upperdir=$3,workdir=$3.work" overlay "$root"
for hidden in root home tmp run work mnt $4; do
    [ -d "$root/$hidden" ] && mount -t tmpfs -o mode=755 tmpfs "$root/$hidden"
done
chmod 1777 "$root/tmp"; chmod 711 "$root/root"
[ "$5" = /usr ] || { mkdir -p "$root$5"; mount --bind "$5" "$root$5"; }
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/dev/shm"
eval "$6"
shift 6
exec chroot "$root" "$@"
"""

#: Unpacks, into the layer that stands for the Python image, what differs from this machine. Arguments: the mount point and the layer.
BASE = """
set -e
mount -t overlay -o "lowerdir=/,upperdir=$2,workdir=$2.work" overlay "$1"
rm -rf "$1"/etc/systemd/system "$1"/usr/local/bin/python*
tar -C "$1" -x
"""
PIP_CONF = "[global]\nno-index = true\nfind-links = /var/wheelhouse\ndisable-pip-version-check = true\n"

#: Becomes a user of the image. Arguments: the user, the folder, options of setpriv, variables, the program.
AS_USER = """
set -e
user="$1"; cd "$2"; limits="$3"; shift 3
home="$(getent passwd "$user" | cut -d: -f6)"; group="$(id -g "$user" 2>/dev/null || echo 0)"
exec setpriv $limits --reuid="$user" --regid="$group" --clear-groups env -i HOME="${home:-/}" "$@"
"""


class StepFailed(Exception):
    """A step of the Containerfile has failed."""


@dataclass(frozen=True)
class Image:
    """What the steps up to one have made. Attributes: the layers, newest first, and the settings of the instructions."""

    layers: tuple[str, ...] = ()
    arguments: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=lambda: BASE_ENV)
    user: str = "0"
    folder: str = "/"
    volumes: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    healthcheck: tuple[str, ...] = ()


class Builder:
    """Builds images, which exist in memory until its end. A context manager.

    Args:
        folder: an empty folder of the test's own.
        context: the folder that the Containerfile copies from.
        wheelhouse: wheels of all packages that its steps install.
    """

    def __init__(self, folder: Path, context: Path, wheelhouse: Path) -> None:
        require()
        if missing := [program for program in PROGRAMS if not any(Path(place, program).exists() for place in os.get_exec_path())]:
            pytest.skip(f"containers need {', '.join(missing)}")
        self._folder, self._context = folder, context
        self._made: dict[object, str] = {}  # layers, by all that decides about them
        self._numbers = itertools.count()
        words = ["unshare", "--mount", "sh", "-c", HOLD, "images", str(folder)]
        self.holder = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == b"ready\n"
        self._base = self.new_layer("base")
        words = ["unshare", "--mount", "sh", "-c", BASE, "base", self._mount_point("base"), self._base]
        self._inside(words, base_files(wheelhouse))

    def __enter__(self) -> Builder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.holder.communicate(b"\n")

    # -- building

    def build(self, text: str, target: str, **arguments: str) -> Image:
        """Execute the steps of a stage, and of those that it needs; a step that was executed before is not executed again.

        Args:
            text: a Containerfile.
            target: name of the stage.
            arguments: build arguments.

        Raises:
            StepFailed: a step has failed; the text has its output.
            NotUnderstood: a line of the Containerfile cannot be executed.
        """
        _, stages = read(text)
        base = chain(stages, target)[0].base
        if re.match(r"docker\.io/library/python:", base) is None:
            raise NotUnderstood(f"FROM {base}: must be an image of Python")
        image = Image((self._base,))
        for stage in chain(stages, target):
            for word, rest in stage.steps:
                image = self._step(image, word, rest, text, arguments)
        return image

    def _step(self, image: Image, word: str, rest: str, text: str, given: Mapping[str, str]) -> Image:
        values = {**image.arguments, **image.env}
        if word == "ARG":
            found = argument_of(rest)
            return replace(image, arguments={**image.arguments, **{name: given.get(name, value) for name, value in found.items()}})
        if word == "ENV":
            return replace(image, env={**image.env, **{name: expand(value, values) for name, value in settings(rest).items()}})
        if word == "USER":
            return replace(image, user=expand(rest, values))
        if word == "VOLUME":
            return replace(image, volumes=(*image.volumes, rest))
        if word == "ENTRYPOINT":
            return replace(image, entrypoint=tuple(words_of(rest)), command=())
        if word == "CMD":
            return replace(image, command=tuple(words_of(rest)))
        if word == "HEALTHCHECK":
            return replace(image, healthcheck=() if rest == "NONE" else tuple(words_of(flags_of(rest)[1].removeprefix("CMD "))))
        if word == "WORKDIR":
            return replace(self._layer(image, f"mkdir -p {shlex.quote(rest)}", "0"), folder=rest)
        if word == "RUN":
            return self._layer(image, rest, image.user)
        if word == "COPY":
            return self._copy(image, rest, text, given)
        raise NotUnderstood(f"{word} {rest}")

    def _copy(self, image: Image, rest: str, text: str, given: Mapping[str, str]) -> Image:
        flags, rest = flags_of(rest)
        *sources, target = rest.split()
        if "from" in flags:
            other = self.build(text, flags["from"], **given)
            place = self._mount_point("from")
            mount = f"mkdir -p {place}; mount -t overlay -o lowerdir={':'.join((*other.layers, '/'))} overlay {place}; "
            (source,) = sources
            mount += f'mkdir -p "$root{target}"; cp -a {place}{source}/. "$root{target}/"'
            return self._layer(image, "true", "0", mount)
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for source in sources:
                self._add(tar, source, target)
        within = "/" if target.startswith("/") else image.folder
        return self._layer(image, f"tar -C {shlex.quote(within)} -x --no-same-owner", "0", data=archive.getvalue(), about=rest)

    def _add(self, tar: tarfile.TarFile, source: str, target: str) -> None:
        """Add what COPY copies: a file, or what is in a folder, as far as .dockerignore lets it in."""
        path = self._context / source
        if not in_context(self._context, source):
            raise StepFailed(f"COPY {source}: not in the context")
        for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
            name = each.relative_to(self._context).as_posix()
            if each.is_file() and in_context(self._context, name):
                whole = path.is_file() and not target.endswith("/")
                tar.add(each, target if whole else f"{target.rstrip('/')}/{each.relative_to(path if path.is_dir() else path.parent)}")

    def _layer(self, image: Image, command: str, user: str, mount: str = "", *, data: bytes = b"", about: str = "") -> Image:
        """Execute a shell command as a step, and return the image with its layer."""
        env = {**image.arguments, **image.env}
        key = (image.layers, command, user, image.folder, mount, about, data, tuple(sorted(env.items())))
        if key not in self._made:
            layer = self.new_layer("layer")
            words = ["unshare", "--net", "--pid", "--mount", "--fork", "--kill-child"]
            words += [*self.enter(image.layers, layer, mount), *as_user(image.folder, user, env, ["sh", "-c", command])]
            try:
                self._inside(words, data)
            except StepFailed as why:
                raise StepFailed(f"{about or command}\n{why}") from None
            self._made[key] = layer
        return replace(image, layers=(self._made[key], *image.layers))

    # -- what containers need too

    def new_layer(self, name: str) -> str:
        """Make an empty layer and return it."""
        layer = f"{self._folder}/{name}-{next(self._numbers)}"
        self._inside(["mkdir", layer, f"{layer}.work"])
        return layer

    def enter(self, layers: Sequence[str], upper: str, mount: str) -> list[str]:
        """Return how to execute a program in a root file system, in mounts and with process ids of its own.

        Args:
            layers: those below, newest first.
            upper: the one that changes.
            mount: commands of further mounts.
        """
        hidden = str(self._context).lstrip("/")
        place = self._mount_point(Path(upper).name)
        return ["sh", "-c", ENTER, "enter", place, ":".join((*layers, "/")), upper, hidden, sys.base_prefix, mount]

    def _mount_point(self, name: str) -> str:
        place = f"{self._folder}/root-{name}"
        self._inside(["mkdir", "-p", place])
        return place

    def _inside(self, words: Sequence[str], data: bytes = b"") -> None:
        """Run a program that sees the layers."""
        nsenter = ["nsenter", "--target", str(self.holder.pid), "--mount", "--wdns=/"]
        done = subprocess.run([*nsenter, *words], input=data, capture_output=True, timeout=STEP_S, check=False)
        if done.returncode:
            raise StepFailed(f"exit code {done.returncode}\n{done.stdout.decode()}{done.stderr.decode()}")


def as_user(folder: str, user: str, env: Mapping[str, str], words: Sequence[str], limits: str = "") -> list[str]:
    """Return how a program is executed in a root file system: in a folder, as a user, with these variables and no others."""
    return ["/bin/sh", "-c", AS_USER, "as", user, folder, limits, *(f"{name}={value}" for name, value in env.items()), *words]


def base_files(wheelhouse: Path) -> bytes:
    """Return the files of the layer that stands for the Python image, as a tar archive."""
    archive = io.BytesIO()
    people = {line.split(":")[0] for line in Path("/etc/passwd").read_text().splitlines() if 1000 <= int(line.split(":")[2]) < 60000}
    with tarfile.open(fileobj=archive, mode="w") as tar:
        texts = {name: Path("/", name).read_text().splitlines(keepends=True) for name in ("etc/passwd", "etc/group", "etc/shadow")}
        # a script: by a symbolic link, a virtual environment would look for the library beside the link
        files = {"etc/pip.conf": [PIP_CONF], "usr/local/bin/python": [f'#!/bin/sh\nexec {PYTHON} "$@"\n']}
        for name, lines in {**texts, **files}.items():
            data = "".join(line for line in lines if line.split(":")[0] not in people).encode()
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755 if name.endswith("python") else 0o644
            tar.addfile(member, io.BytesIO(data))
        for wheel in sorted(wheelhouse.glob("*.whl")):
            tar.add(wheel, f"var/wheelhouse/{wheel.name}")
    return archive.getvalue()
