#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Runs the suite on this host's KVM in one process, and writes output/result.txt for send-to-lava.sh.

# shellcheck disable=SC1091
. ../../lib/sh-test-lib

OUTPUT="$(pwd)/output"
RESULT_FILE="${OUTPUT}/result.txt"
export RESULT_FILE
URL=""
TREE="/opt/kvmtests"
SKIPFILE_YAML=""
SKIPFILE_PATH="${OUTPUT}/skipfile"
PYTEST_ARGS=""
TARGET="host"

usage() {
    echo "Usage: $0 [-u URL] [-p PATH] [-t TARGET] [-a PYTEST_ARGS]
                    [-S SKIPFILE_YAML] [-b BOARD] [-g BRANCH] [-e ENVIRONMENT]" 1>&2
    exit 1
}

while getopts "u:p:t:S:b:g:e:a:h" option; do
    case "${option}" in
        u) URL="${OPTARG}" ;;
        p) TREE="${OPTARG}" ;;
        t) TARGET="${OPTARG}" ;;
        S) SKIPFILE_YAML="${OPTARG}" ;;
        b) export BOARD="${OPTARG}" ;;
        g) export BRANCH="${OPTARG}" ;;
        e) export ENVIRONMENT="${OPTARG}" ;;
        a) PYTEST_ARGS="${OPTARG}" ;;
        *) usage ;;
    esac
done

create_out_dir "${OUTPUT}"

if [ "${TARGET}" = host ] && [ ! -c /dev/kvm ]; then
    warn_msg "this host has no /dev/kvm"
    report_skip kvmtests-ran
    exit 0
fi

if [ -n "${URL}" ]; then
    mkdir -p "${TREE}"
    # The name of the tar says nothing of what is in it, so any of tar's compressions will do.
    wget -q -O "${OUTPUT}/kvmtests.tar" "${URL}" && tar -C "${TREE}" -xf "${OUTPUT}/kvmtests.tar" ||
        error_fatal "kvmtests: ${URL} cannot be fetched and unpacked"
    rm -f "${OUTPUT}/kvmtests.tar"
fi
[ -f "${TREE}/kvmtests/tools/lava_results.py" ] || error_fatal "kvmtests: ${TREE} holds no installed tree"

# shellcheck disable=SC2086
set -- ${PYTEST_ARGS}
if [ -n "${SKIPFILE_YAML}" ]; then
    generate_skipfile
    while IFS= read -r case; do
        [ -z "${case}" ] || set -- "$@" --deselect "${case}"
    done <"${SKIPFILE_PATH}"
fi

# One process: Python starts once, which takes long under emulation.
cd "${TREE}/kvmtests" || error_fatal "kvmtests: ${TREE}/kvmtests cannot be entered"
PYTHONPATH="$(pwd):$(pwd)/vendor" PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 python3 -m pytest kvmtests \
    --target "${TARGET}" -p pytest_timeout -p no:cacheprovider --journal "${OUTPUT}/journal.jsonl" "$@"
PYTHONPATH="$(pwd)" python3 -m tools.lava_results "${OUTPUT}/journal.jsonl" "${OUTPUT}"
cat "${RESULT_FILE}"
