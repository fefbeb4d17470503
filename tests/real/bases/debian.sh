#!/usr/bin/env bash
# Creates a minimal Debian trixie in a folder, with Python 3.13 like in the official image. Needs root and debootstrap.
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
# Like in the official image, the commands are in /usr/local/bin, and pip installs there. The pip is the one that Debian
# keeps for new environments, because its pip package depends on other packages, which pip could not replace.
for command in python python3; do ln -s /usr/bin/python3 "$tree/usr/local/bin/$command"; done
rm -f "$tree"/usr/lib/python3*/EXTERNALLY-MANAGED
chroot "$tree" sh -ec 'set -- /usr/share/python-wheels/pip-*.whl
    python3 "$1/pip" --quiet install --no-index --no-cache-dir --root-user-action=ignore "$1"'
# After a crash, the images are built again. Therefore dpkg need not write each package to the disk safely.
echo force-unsafe-io >"$tree/etc/dpkg/dpkg.cfg.d/unsafe-io"
rm -rf "$tree"/var/cache/apt/* "$tree"/var/lib/apt/lists/*
# This machine's configuration for its package indexes, which may have their own certificate authority.
apt-config dump Acquire >"$tree/etc/apt/apt.conf.d/99machine"
cp /etc/ssl/certs/ca-certificates.crt "$tree/etc/ssl/certs/ca-certificates.crt"
