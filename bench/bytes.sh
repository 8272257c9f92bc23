#!/usr/bin/env bash
# Weighs a first starting point in a remote beside `tar | zstd -3` of the build that it is of.
#
#   bench/bytes.sh REPOSITORY REVISION HEADSTART [CARGO ARGS...]
#
# A fresh clone is built once, so that its target directory holds live units alone, each with one session; what headstart notes there is left out.
set -euo pipefail
repo=$1 rev=$2 headstart=$(realpath "$3")
shift 3
args=("${@:-build}")
scratch=$(mktemp -d "${SCRATCH:-${TMPDIR:-/tmp}}/headstart-bytes-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
export CARGO_TERM_COLOR=never HEADSTART_STORE=$scratch/store HEADSTART_REMOTES=file://$scratch/remote HEADSTART_LATER=off
git clone --quiet --no-checkout "$repo" "$scratch/clone"
git -C "$scratch/clone" -c advice.detachedHead=false checkout --quiet --detach "$rev"
(cd "$scratch/clone" && "$headstart" publish --quiet --required -- "${args[@]}" >"$scratch/log" 2>&1) || { tail -20 "$scratch/log"; exit 1; }
ours=$(find "$scratch/remote" -type f -printf '%s\n' | awk '{ all += $1 } END { print all }')
tars=$(tar -C "$scratch/clone/target" --exclude=.headstart -c . | zstd -3 -c | wc -c)
files=$(find "$scratch/clone/target" -type f | wc -l)
echo "bench/bytes.sh $(basename "$(dirname "$repo")") $rev, cargo ${args[*]}, $(rustc -V): $files files"
echo "remote $ours, tar | zstd -3 $tars bytes; ratio $(awk -v a="$ours" -v b="$tars" 'BEGIN { printf "%.3f", a / b }')   (at most 1.0)"
