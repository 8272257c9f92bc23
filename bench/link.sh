#!/usr/bin/env bash
# Times what a reader waits for a commit over a slow link: from a remote with deltas, and from one with whole files, taking turns.
#
#   bench/link.sh REPOSITORY REVISION COMMITS HEADSTART RATE ROUNDS [CARGO ARGS...]
#
# The deltas are those of COMMITS successive commits to the one before each, the last being REVISION: of first parents, that change
# Rust code. `next` is a reader who has the last commit but one, `nothing` one with an empty store.
# `start` is the start alone; `all` that and the fetch of what it left for later, the sessions of fresh units. The remotes are nginx on
# this machine, and RATE (`1gbit`) is the loopback's while the clock runs: needs nginx, tc and root.
set -euo pipefail
. "$(dirname "$(realpath "$0")")/nginx.sh"
repo=$1 revision=$2 commits=$3 headstart=$(realpath "$4") rate=$5 rounds=$6
shift 6
args=("${@:-build}")
scratch=$(mktemp -d "${SCRATCH:-${TMPDIR:-/tmp}}/headstart-link-XXXXXX")
quick() { tc qdisc del dev lo root 2>/dev/null || true; }
trap 'quick; kill "$server" 2>/dev/null; rm -rf "$scratch"' EXIT
chmod 755 "$scratch" # nginx may serve as another user
export CARGO_TERM_COLOR=never GIT_ADVICE=0

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
rest() { # <store> <remote> <manifest>; waits for the process that fetches it already; nothing comes where the disk has too little room
    "$headstart" fetch --quiet --store "$scratch/$1" --remote "$2" "$3"
}

git clone --quiet --no-checkout "$repo" "$scratch/publisher"
mapfile -t list < <(git -C "$repo" rev-list --first-parent --max-count=$((commits + 1)) --reverse "$revision" -- '*.rs')
for ((i = 0; i <= commits; i++)); do
    go "$scratch/publisher" "${list[$i]}"
    if ((i < commits)); then publish "$i.json" deltas; else publish "$i.json" deltas whole; fi
done
manifest() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["manifest"])' "$scratch/$1.json"; }
before=${list[$((commits - 1))]} after=${list[$commits]}
rm -rf "$scratch/publishers" "$scratch/publisher/target"
serve "$scratch"

# Who has the commit before, sessions and all.
git clone --quiet --no-checkout "$repo" "$scratch/reader"
go "$scratch/reader" "$before"
start reader next "http://127.0.0.1:$port/deltas"
rest next "http://127.0.0.1:$port/deltas" "$(manifest $((commits - 1)))"
mkdir "$scratch/nothing"
read_one() { # <who> <remote>
    rm -rf "$scratch/reader" "$scratch/again"
    cp -a "$scratch/$1" "$scratch/again"
    git clone --quiet --no-checkout "$repo" "$scratch/reader"
    go "$scratch/reader" "$after"
    sync
    quick && tc qdisc add dev lo root tbf rate "$rate" burst 1mb latency 50ms
    local t
    t=$(now)
    start reader again "http://127.0.0.1:$port/$2"
    since "$t" >>"$scratch/$1.$2.start"
    rest again "http://127.0.0.1:$port/$2" "$(manifest "$commits")"
    since "$t" >>"$scratch/$1.$2.all"
    quick
}
for ((i = 1; i <= rounds; i++)); do
    for who in next nothing; do
        for remote in deltas whole; do read_one "$who" "$remote"; done
    done
done
echo "bench/link.sh $(basename "$(dirname "$repo")") $revision, $commits commits, $rate, $rounds rounds, cargo ${args[*]}"
for who in next nothing; do
    for what in start all; do
        deltas=$(median <"$scratch/$who.deltas.$what") whole=$(median <"$scratch/$who.whole.$what")
        awk -v w="$who, $what" -v a="$deltas" -v b="$whole" 'BEGIN { printf "%-14s deltas %6.2f s, whole files %6.2f s: ratio %.2f (at most 1)\n", w, a, b, a / b }'
    done
done
