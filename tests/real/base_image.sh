#!/usr/bin/env bash
# Builds the base images of a rendered Dockerfile on a machine that cannot pull them: a Debian with its own Python 3.13
# under the name of the official image, and uv from its wheel under the name of uv's image.
# Needs root, debootstrap and buildah (Debian packages), and one or two minutes. Existing images are not built again.
# Usage: base_image.sh STORE PYTHON_IMAGE UV_IMAGE UV_FOLDER POETRY_IMAGE INDEX
#   STORE         the folder for images
#   UV_FOLDER     where the commands uv and uvx are
#   POETRY_IMAGE  a name for the Python image with a Poetry that uses INDEX: Poetry by itself requests more from PyPI
#                 than other indexes provide, and a machine that cannot pull images probably has another index
set -euo pipefail
store=$1 python_image=$2 uv_image=$3 uv_folder=$4 poetry_image=$5 index=$6

images() { buildah --root "$store/root" --runroot "$store/run" --storage-driver vfs "$@"; }
missing() { ! images inspect --type image "$1" >/dev/null 2>&1; }

if missing "$python_image"; then
    tree=$store/debian
    mkdir -p "$store"
    "$(dirname "${BASH_SOURCE[0]}")/bases/debian.sh" "$tree"
    container=$(images from scratch)
    images add --quiet "$container" "$tree" / >/dev/null
    images config \
        --env PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
        --env PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
        --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
        --env REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt \
        "$container"
    images commit --quiet --rm "$container" "$python_image" >/dev/null
    rm -rf "$tree"
fi

if missing "$uv_image"; then
    container=$(images from scratch)
    images copy --quiet "$container" "$uv_folder/uv" "$uv_folder/uvx" / >/dev/null
    images commit --quiet --rm "$container" "$uv_image" >/dev/null
fi

if missing "$poetry_image"; then
    container=$(images from --pull-never "$python_image")
    images run --isolation chroot "$container" -- \
        pip install --quiet --no-cache-dir --root-user-action=ignore poetry-plugin-pypi-mirror
    images config --env "POETRY_PYPI_MIRROR_URL=$index" "$container"
    images commit --quiet --rm "$container" "$poetry_image" >/dev/null
fi
