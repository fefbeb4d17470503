#!/usr/bin/env bash
# Downloads a Docker engine with Compose and Buildx from Debian, and unpacks it into a folder without installing it.
# Usage: engine.sh FOLDER
set -euo pipefail
engine=$1
if [ -d "$engine" ]; then exit; fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

apt-get -qq update >&2
# The machine's own mirror, with a suite that has a current Compose.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n 1)
if [ -z "$mirror" ]; then echo "this is not Debian" >&2; exit 1; fi
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror forky main" >sources.list
mkdir -p lists/partial archives/partial
forky() {
    apt-get -qq -o Dir::Etc::SourceList="$folder/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$folder/lists" -o Dir::Cache="$folder" -o APT::Sandbox::User=root "$@"
}
apt-get -qq -o APT::Sandbox::User=root download docker.io containerd runc tini >&2
forky update >&2
forky download docker-compose docker-buildx >&2

for package in *.deb; do dpkg --extract "$package" unpacked; done
mkdir -p unpacked/config
mv unpacked/usr/libexec/docker/cli-plugins unpacked/config/
mkdir -p "$(dirname "$engine")"
mv unpacked "$engine.new"
mv "$engine.new" "$engine"
