#!/usr/bin/env bash
# Makes a minimal Debian trixie in a folder, with Python 3.13 as the official image has it. Needs root and debootstrap.
# Usage: debian.sh FOLDER
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin # debootstrap and chroot are there
tree=$1

rm -rf "$tree"
mkdir -p "$(dirname "$tree")"
# debootstrap fails in a folder whose path has a space.
work=$(mktemp -d /tmp/debian-XXXXXX)
trap 'rm -rf "$work"' EXIT
debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv trixie "$work/tree" \
    >"$tree.log" 2>&1 || { tail -n 20 "$tree.log" >&2; exit 1; }
mv "$work/tree" "$tree"
# As in the official image: the commands are in /usr/local/bin, and pip installs beside them. The pip is the one that
# Debian keeps for new environments; its package of pip brings others, which pip could not replace.
for command in python python3; do ln -s /usr/bin/python3 "$tree/usr/local/bin/$command"; done
rm -f "$tree"/usr/lib/python3*/EXTERNALLY-MANAGED
chroot "$tree" sh -ec 'set -- /usr/share/python-wheels/pip-*.whl
    python3 "$1/pip" --quiet install --no-index --no-cache-dir --root-user-action=ignore "$1"'
# The images are made again when a machine has crashed; packages need not be safe on the disk one by one.
echo force-unsafe-io >"$tree/etc/dpkg/dpkg.cfg.d/unsafe-io"
rm -rf "$tree"/var/cache/apt/* "$tree"/var/lib/apt/lists/*
# This machine's way to its package indexes, which may have an authority of its own.
apt-config dump Acquire >"$tree/etc/apt/apt.conf.d/99machine"
cp /etc/ssl/certs/ca-certificates.crt "$tree/etc/ssl/certs/ca-certificates.crt"
