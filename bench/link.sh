#!/usr/bin/env bash
# Times what a reader who has one commit waits for the next over a slow link: from a remote with deltas, and from one with whole
# files, taking turns.
#
#   bench/link.sh REPOSITORY BEFORE AFTER HEADSTART RATE ROUNDS [CARGO ARGS...]
#
# `start` is the start alone; `all` that and the fetch of what it left for later, the sessions of fresh units. The remotes are nginx on
# this machine, and RATE (`1gbit`) is the loopback's while the clock runs: needs nginx, tc and root.
set -euo pipefail
. "$(dirname "$(realpath "$0")")/nginx.sh"
repo=$1 before=$2 after=$3 headstart=$(realpath "$4") rate=$5 rounds=$6
shift 6
args=("${@:-build}")
scratch=$(mktemp -d "${SCRATCH:-${TMPDIR:-/tmp}}/headstart-link-XXXXXX")
quick() { tc qdisc del dev lo root 2>/dev/null || true; }
trap 'quick; kill "$server" 2>/dev/null; rm -rf "$scratch"' EXIT
chmod 755 "$scratch" # nginx may serve as another user
export CARGO_TERM_COLOR=never GIT_ADVICE=0 HEADSTART_LATER=off

now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.2f\n", b - a }'; }
median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
go() { git -C "$1" -c advice.detachedHead=false checkout --quiet --detach "$2"; }
publish() { # <said> <remotes...>
    local said=$1 remotes=()
    shift
    for remote in "$@"; do remotes+=(--remote "file://$scratch/$remote"); done
    (cd "$scratch/publisher" && "$headstart" publish --required --json --store "$scratch/publishers" "${remotes[@]}" -- "${args[@]}" >"$scratch/$said" 2>"$scratch/publish.log") || { tail -5 "$scratch/publish.log" >&2; exit 1; }
}
start() { # <clone> <store> <remote>
    (cd "$scratch/$1" && "$headstart" start --required --believe-store --store "$scratch/$2" --remote "$3" >/dev/null 2>"$scratch/start.log") || { cat "$scratch/start.log" >&2; exit 1; }
}
rest() { # <store> <remote> <manifest>; nothing comes where the disk has too little room
    "$headstart" fetch --quiet --store "$scratch/$1" --remote "$2" "$3"
}

git clone --quiet --no-checkout "$repo" "$scratch/publisher"
go "$scratch/publisher" "$before"
publish before.json deltas
go "$scratch/publisher" "$after"
publish after.json deltas whole
manifest=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["manifest"])' "$scratch/after.json")
first=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["manifest"])' "$scratch/before.json")
rm -rf "$scratch/publishers" "$scratch/publisher/target"
serve "$scratch"

# Who has the commit before, sessions and all.
git clone --quiet "$scratch/publisher" "$scratch/reader"
go "$scratch/reader" "$before"
start reader store "http://127.0.0.1:$port/deltas"
rest store "http://127.0.0.1:$port/deltas" "$first"
for ((i = 1; i <= rounds; i++)); do
    for remote in deltas whole; do
        rm -rf "$scratch/reader" "$scratch/again"
        cp -a "$scratch/store" "$scratch/again"
        git clone --quiet "$scratch/publisher" "$scratch/reader"
        go "$scratch/reader" "$after"
        sync
        quick && tc qdisc add dev lo root tbf rate "$rate" burst 1mb latency 50ms
        t=$(now)
        start reader again "http://127.0.0.1:$port/$remote"
        since "$t" >>"$scratch/$remote.start"
        rest again "http://127.0.0.1:$port/$remote" "$manifest"
        since "$t" >>"$scratch/$remote.all"
        quick
    done
done
echo "bench/link.sh $(basename "$(dirname "$repo")") $before $after, $rate, $rounds rounds, cargo ${args[*]}"
for what in start all; do
    deltas=$(median <"$scratch/deltas.$what") whole=$(median <"$scratch/whole.$what")
    awk -v w="$what" -v a="$deltas" -v b="$whole" 'BEGIN { printf "%-5s deltas %6.2f s, whole files %6.2f s: ratio %.2f (at most 1)\n", w, a, b, a / b }'
done
