#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Puts the suite into the root file system, with the Python packages that it needs. Runs inside it.
set -e

# Where the suite's repository is, and what of it to test with.
REPOSITORY=
REVISION=main

BUILD_DEPENDENCIES="git make python3-venv"

if [ -z "$REPOSITORY" ]; then
    echo "trixie-kvmtests.sh: set REPOSITORY to the URL of the suite's repository" >&2
    exit 1
fi

# shellcheck disable=SC2086  # a list
apt-get install --no-install-recommends -y $BUILD_DEPENDENCIES

folder=$(mktemp -d)
git clone --depth 1 --branch "$REVISION" "$REPOSITORY" "$folder"
make -C "$folder" install INSTALL_PATH=/opt/kvmtests
rm -rf "$folder"

# shellcheck disable=SC2086
apt-get remove --purge -y $BUILD_DEPENDENCIES
# python3 itself stays: no other package needs it.
apt-mark manual python3
apt-get autoremove --purge -y
apt-get clean
