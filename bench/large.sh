#!/usr/bin/env bash
# Times publish, start and pull on one large workspace, the arms taking turns; prints raw seconds and ratios of medians.
#
#   bench/large.sh REPOSITORY REVISION HEADSTART [ROUNDS] [CARGO ARGS...]
#
# The parent of REVISION is built from nothing and published, then REVISION in the same directory. "pull" is in a directory
# that plain cargo built at the parent and that knows no headstart, put back as it was before each round, at one path: check
# REVISION out, then `start` + `cargo build` against `cargo build` alone.
# "same commit" compares, in fresh clones, `start` + `cargo build` with a copy of the target directory + `cargo build`.
# cargo and headstart are told nothing else; `cargo xtask bench` does the same with more arms for smaller workspaces.
set -euo pipefail
repo=$1 rev=$2 headstart=$(realpath "$3") rounds=${4:-2}
shift $(($# > 4 ? 4 : $#))
args=("${@:-build}")
scratch=$(mktemp -d "${SCRATCH:-${TMPDIR:-/tmp}}/headstart-large-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
store=$scratch/store
export CARGO_TERM_COLOR=never GIT_ADVICE=0

now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.2f", b - a }'; }
median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
field() { python3 -c "import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])" "$1" "$2"; }
checkout() { git -C "$1" -c advice.detachedHead=false checkout --quiet --detach "$2"; }
clone() { git clone --quiet --no-checkout "$repo" "$1" && checkout "$1" "$2"; }
say() { printf '%-44s %s\n' "$1" "$2"; }
ratio() { say "ratio: $1" "$(awk -v a="$2" -v b="$3" 'BEGIN { printf "%.3f", a / b }')   (at most $4)"; }
cargo_in() { (cd "$1" && cargo "${args[@]}" >/dev/null 2>&1); }
start_in() { (cd "$1" && "$headstart" start --store "$store" --json >"$scratch/start.json"); }

publish() { (cd "$scratch/publisher" && "$headstart" publish --required --store "$store" --json -- "${args[@]}" >"$scratch/$1.json" 2>/dev/null); }

say command "bench/large.sh $(basename "$(dirname "$repo")") $rev, $rounds rounds, cargo ${args[*]}, $(rustc -V)"
clone "$scratch/publisher" "$rev~1"
publish first
nothing=$(field "$scratch/first.json" cargo_seconds)
say "build from nothing (through the wrapper)" "$nothing"
say "publish, first" "$(field "$scratch/first.json" publish_seconds)"
say "units, bytes of the starting point" "$(field "$scratch/first.json" units), $(field "$scratch/first.json" bytes_total)"
say "bytes of the target directory" "$(du -sb "$scratch/publisher/target" | cut -f1)"
clone "$scratch/warm" "$rev~1"
t=$(now)
cargo_in "$scratch/warm"
say "build from nothing (plain cargo)" "$(since "$t")"
mv "$scratch/warm" "$scratch/before"
checkout "$scratch/publisher" "$rev"
publish next
say "build of the next commit, warm (wrapper)" "$(field "$scratch/next.json" cargo_seconds)"
say "publish, next commit" "$(field "$scratch/next.json" publish_seconds)"

for round in $(seq 1 "$rounds"); do
    for arm in started alone; do
        rm -rf "$scratch/warm" && cp -a "$scratch/before" "$scratch/warm" && checkout "$scratch/warm" "$rev"
        t=$(now)
        if [ $arm = started ]; then start_in "$scratch/warm"; fi
        cargo_in "$scratch/warm"
        since "$t" >>"$scratch/pull-$arm" && echo >>"$scratch/pull-$arm"
    done
done
rm -rf "$scratch/warm" "$scratch/before"
say "pull: start + cargo" "$(xargs <"$scratch/pull-started")"
say "pull: cargo alone" "$(xargs <"$scratch/pull-alone")"

for round in $(seq 0 "$rounds"); do
    for arm in started copied; do
        rm -rf "$scratch/reader" && clone "$scratch/reader" "$rev"
        t=$(now)
        case $arm in
            started) start_in "$scratch/reader" ;;
            copied) cp -a "$scratch/publisher/target" "$scratch/reader/target" ;;
        esac
        # A copied target is older than the clone's sources: for that arm cargo's no-op is timed in the publisher's directory.
        if [ $arm = started ]; then cargo_in "$scratch/reader"; else cargo_in "$scratch/publisher"; fi
        if [ "$round" -gt 0 ]; then since "$t" >>"$scratch/same-$arm" && echo >>"$scratch/same-$arm"; fi
    done
done
say "same commit: start + cargo" "$(xargs <"$scratch/same-started")"
say "same commit: cp -a of the target + cargo" "$(xargs <"$scratch/same-copied")"

m() { median <"$scratch/$1"; }
ratio "pull, start + cargo / cargo alone" "$(m pull-started)" "$(m pull-alone)" 0.15
ratio "same commit, start / cp -a" "$(m same-started)" "$(m same-copied)" 1.5
ratio "same commit, start / from nothing" "$(m same-started)" "$nothing" 0.05
ratio "publish, first / from nothing" "$(field "$scratch/first.json" publish_seconds)" "$nothing" 0.15
ratio "publish, next / from nothing" "$(field "$scratch/next.json" publish_seconds)" "$nothing" 0.10
