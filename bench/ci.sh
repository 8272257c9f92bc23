#!/usr/bin/env bash
# Times `ci/headstart.sh` on commits as CI would see them, each in a fresh clone on a machine of its own: with an empty store, and a
# directory as the remote.
#
#   bench/ci.sh REPOSITORY REVISION HEADSTART [CARGO ARGS...]
#
# The main branch is REVISION~2 and REVISION~1, the pull request REVISION. Prints seconds, ratios, and what each job wrote to the remote.
set -euo pipefail
repo=$1 rev=$2 headstart=$(realpath "$3")
shift 3
args=("${@:-build}")
script=$(realpath "$(dirname "$0")/../ci/headstart.sh")
scratch=$(mktemp -d "${SCRATCH:-${TMPDIR:-/tmp}}/headstart-ci-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/bin"
ln -s "$headstart" "$scratch/bin/headstart"
export PATH=$scratch/bin:$PATH CARGO_TERM_COLOR=never
export CARGO_HOME=${CARGO_HOME:-$HOME/.cargo} RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}
export HEADSTART_REMOTES=file://$scratch/remote
mkdir "$scratch/remote"

now() { date +%s.%N; }
stored() { find "$scratch/remote" -type f -printf '%s\n' | awk '{ s += $1 } END { print s + 0 }'; }
files() { find "$scratch/remote" -type f | wc -l; }

# job <name> <revision> <command...>: sets `seconds` and `wrote`.
job() {
    local name=$1 revision=$2 before begun
    shift 2
    git clone --quiet --no-checkout "$repo" "$scratch/$name"
    git -C "$scratch/$name" -c advice.detachedHead=false checkout --quiet --detach "$revision"
    before=$(stored)
    begun=$(now)
    (cd "$scratch/$name" && HOME=$scratch/home-$name "$@" >"$scratch/$name.log" 2>&1) || { cat "$scratch/$name.log" >&2; exit 1; }
    seconds=$(awk -v a="$begun" -v b="$(now)" 'BEGIN { printf "%.2f", b - a }')
    wrote=$(($(stored) - before))
    printf '%-44s %8s s   wrote %12s bytes\n' "$name" "$seconds" "$wrote"
    rm -rf "${scratch:?}/$name" "${scratch:?}/home-$name"
}

main=(env HEADSTART_PUBLISH=yes "HEADSTART_PUBLISH_TO=$HEADSTART_REMOTES" "$script")
echo "bench/ci.sh $(basename "$(dirname "$repo")") $rev, cargo ${args[*]}, $(rustc --version)"
job plain-main "$rev~1" cargo "${args[@]}"
plain=$seconds
job main-first "$rev~2" "${main[@]}" "${args[@]}"
first=$seconds
job main-next "$rev~1" "${main[@]}" "${args[@]}"
next=$seconds
job main-next-again "$rev~1" "${main[@]}" "${args[@]}"
again=$seconds
job pull-request "$rev" "$script" "${args[@]}"
pull=$seconds
job plain-pull-request "$rev" cargo "${args[@]}"
echo "the remote: $(stored) bytes in $(files) files"
awk -v p="$plain" -v f="$first" -v n="$next" -v a="$again" -v r="$pull" -v q="$seconds" 'BEGIN {
    printf "ratio: first publish / plain build      %.3f\n", f / p
    printf "ratio: next publish / plain build       %.3f\n", n / p
    printf "ratio: that run again / plain build     %.3f\n", a / p
    printf "ratio: pull request / plain build       %.3f\n", r / q }'
