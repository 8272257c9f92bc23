#!/usr/bin/env bash
# Times `ci/headstart.sh` on commits as CI would see them, each in a fresh clone on a machine of its own: with an empty store, and a
# directory as the remote.
#
#   bench/ci.sh REPOSITORY REVISION HEADSTART [CARGO ARGS...]
#
# The main branch is REVISION~2 and REVISION~1, the pull request REVISION. Prints seconds on the clock and on all cores together (which
# other work on the machine disturbs less), their ratios, and what each job wrote to the remote.
set -euo pipefail
repo=$(realpath "$1") rev=$2 headstart=$(realpath "$3")
shift 3
args=("${@:-build}")
script=$(realpath "$(dirname "$0")/../ci/headstart.sh")
scratch=$(mktemp -d "${SCRATCH:-${TMPDIR:-/tmp}}/headstart-ci-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/bin"
ln -s "$headstart" "$scratch/bin/headstart"
export PATH=$scratch/bin:$PATH CARGO_TERM_COLOR=never
export CARGO_HOME=${CARGO_HOME:-$HOME/.cargo} RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}
export HEADSTART_REMOTES=file://$scratch/remote HEADSTART_REQUIRED=yes
mkdir "$scratch/remote"

stored() { find "$scratch/remote" -type f -printf '%s\n' | awk '{ s += $1 } END { print s + 0 }'; }

# job <name> <revision> <command...>: sets `seconds`, on the clock and on all cores, and `wrote`.
job() {
    local name=$1 revision=$2 before TIMEFORMAT='%R %U %S'
    shift 2
    git clone --quiet --no-checkout "$repo" "$scratch/$name"
    git -C "$scratch/$name" -c advice.detachedHead=false checkout --quiet --detach "$revision"
    before=$(stored)
    cd "$scratch/$name"
    { time HOME=$scratch/home-$name "$@" >"$scratch/$name.log" 2>&1; } 2>"$scratch/time" || { cat "$scratch/$name.log" >&2; exit 1; }
    cd "$scratch"
    seconds=$(awk '{ print $1, $2 + $3 }' "$scratch/time")
    wrote=$(($(stored) - before))
    printf '%-20s %8s s, %8s s on all cores; wrote %s bytes\n' "$name" "${seconds% *}" "${seconds#* }" "$wrote"
    rm -rf "${scratch:?}/$name" "${scratch:?}/home-$name"
}

ratio() { # <what> <seconds of a job> <those of plain cargo>
    awk -v what="$1" -v a="$2" -v b="$3" 'BEGIN { split(a, x); split(b, y); printf "ratio: %-32s %.3f, on all cores %.3f\n", what, x[1] / y[1], x[2] / y[2] }'
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
echo "the remote: $(stored) bytes in $(find "$scratch/remote" -type f | wc -l) files"
ratio "first publish / plain build" "$first" "$plain"
ratio "next publish / plain build" "$next" "$plain"
ratio "that run again / plain build" "$again" "$plain"
ratio "pull request / plain build" "$pull" "$seconds"
