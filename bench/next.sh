#!/usr/bin/env bash
# Times the next commit, for several commits of a real workspace, the arms taking turns; prints raw seconds and ratios.
#
#   bench/next.sh REPOSITORY REVISION HEADSTART COMMITS NOTHING_EVERY [CARGO ARGS...]
#
# Takes the last COMMITS + 1 first-parent commits up to REVISION that change Rust code. For each but the first:
#   warm     plain cargo, in a directory that built the commit before and knows no headstart
#   start    a fresh clone at another path: `headstart start -- CARGO ARGS`, from what was published of the commits before
#   nothing  plain cargo in a fresh clone (every NOTHING_EVERY-th commit)
# Then the commit is published, from a directory that walks along. OTHER_HOME=DIR gives the readers another CARGO_HOME.
# LOCK=1 gives them the warm directory's Cargo.lock, where the repository has none: to make one, cargo asks the registry for seconds.
# ROUNDS=3 times both three times for each commit; their medians count. For a SCRATCH in memory: what was removed and copied between rounds
# is no matter there.
# Readers stay until the end, as long as 10 GB are free: for minutes after a large removal, ext4 is slow to make files, and a start
# makes many.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
repo=$1 rev=$2 headstart=$(realpath "$3") commits=$4 every=$5
shift 5
args=("${@:-build}")
rounds=${ROUNDS:-1}
scratch=$(mktemp -d "${SCRATCH:-${TMPDIR:-/tmp}}/headstart-next-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
store=$scratch/store
export CARGO_TERM_COLOR=never GIT_ADVICE=0 HEADSTART_STORE=$store HEADSTART_LATER=off

now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.2f\n", b - a }'; }
median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
field() { python3 -c "import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])" "$1" "$2"; }
checkout() { git -C "$1" -c advice.detachedHead=false checkout --quiet --detach "$2"; }
clone() { git clone --quiet --no-checkout "$repo" "$1" && checkout "$1" "$2"; }
cargo_in() { (cd "$1" && cargo "${args[@]}" >"$scratch/cargo.log" 2>&1) || { tail -20 "$scratch/cargo.log"; exit 1; }; }

warm() {
    checkout "$scratch/warm" "$1"
    t=$(now)
    cargo_in "$scratch/warm"
    since "$t" >>"$scratch/warm.s"
}
start() {
    reader=$scratch/reader-$1-$2/deep/clone
    mkdir -p "$(dirname "$reader")"
    clone "$reader" "$1"
    [[ -z ${LOCK-} ]] || cp "$scratch/warm/Cargo.lock" "$reader/Cargo.lock"
    t=$(now)
    (cd "$reader" && CARGO_HOME=${OTHER_HOME:-${CARGO_HOME:-$HOME/.cargo}} "$headstart" start --required -- "${args[@]}" >"$scratch/start.log" 2>&1) || { tail -20 "$scratch/start.log"; exit 1; }
    since "$t" >>"$scratch/start.s"
}
# One round, in turns; the warm directory is as the commit before left it.
round() {
    if (($2 > 1)); then
        rm -rf "$scratch/warm" "$scratch/reader-$1-$(($2 - 1))"
        cp -a "$scratch/kept" "$scratch/warm"
        sync
    fi
    if (((i + $2) % 2)); then start "$1" "$2" && warm "$1"; else warm "$1" && start "$1" "$2"; fi
}
nothing() {
    clone "$scratch/nothing" "$1"
    t=$(now)
    cargo_in "$scratch/nothing"
    since "$t" >"$scratch/nothing.s"
    mv "$scratch/nothing" "$scratch/nothing-$1"
}
# Of what rustc compiled in the reader: how many units began from a seed, and their work products.
reasons() { python3 "$here/reasons.py" "$1"; }

echo "bench/next.sh $(basename "$(dirname "$repo")") $rev, $commits commits, cargo ${args[*]}, $(rustc -V)"
mapfile -t list < <(git -C "$repo" rev-list --first-parent --max-count=$((commits + 1)) --reverse "$rev" -- '*.rs')
clone "$scratch/publisher" "${list[0]}"
clone "$scratch/warm" "${list[0]}"
publish() { (cd "$scratch/publisher" && "$headstart" publish --required --json -- "${args[@]}" >"$scratch/publish.json" 2>"$scratch/publish.log") || { tail -20 "$scratch/publish.log"; exit 1; }; }
publish
echo "publish, first: cargo $(field "$scratch/publish.json" cargo_seconds) s, publishing $(field "$scratch/publish.json" publish_seconds) s, $(field "$scratch/publish.json" units) units"
cargo_in "$scratch/warm"
for ((i = 1; i <= commits; i++)); do
    commit=${list[$i]}
    rm -rf "$scratch/kept" "$scratch/warm.s" "$scratch/start.s"
    ((rounds == 1)) || cp -a "$scratch/warm" "$scratch/kept"
    for ((r = 1; r <= rounds; r++)); do round "$commit" "$r"; done
    line="$(git -C "$repo" log -1 --format='%h' "$commit") warm $(paste -sd/ "$scratch/warm.s") start $(paste -sd/ "$scratch/start.s")"
    for arm in warm start; do median <"$scratch/$arm.s" >"$scratch/$arm.m" && mv "$scratch/$arm.m" "$scratch/$arm.s"; done
    awk -v a="$(cat "$scratch/start.s")" -v b="$(cat "$scratch/warm.s")" 'BEGIN { print a / b }' >>"$scratch/ratios"
    if ((i % every == 0)); then
        nothing "$commit"
        line+=" nothing $(cat "$scratch/nothing.s")"
        awk -v a="$(cat "$scratch/start.s")" -v b="$(cat "$scratch/nothing.s")" 'BEGIN { print a / b }' >>"$scratch/of-nothing"
    fi
    cat "$scratch/warm.s" >>"$scratch/warms"
    cat "$scratch/start.s" >>"$scratch/starts"
    checkout "$scratch/publisher" "$commit"
    publish
    if ((i >= 3)) && (($(df --output=avail -B 1G "$scratch" | tail -1) < 10)); then rm -rf "$scratch/reader-${list[$((i - 2))]}"-*; fi
    echo "$line publish $(field "$scratch/publish.json" cargo_seconds) + $(field "$scratch/publish.json" publish_seconds); $(reasons "$reader")"
done
echo "ratio: start / warm, median of commits   $(median <"$scratch/ratios")   (at most 1.10)"
echo "ratio: start / warm, of medians          $(awk -v a="$(median <"$scratch/starts")" -v b="$(median <"$scratch/warms")" 'BEGIN { printf "%.3f", a / b }')"
echo "ratio: start / nothing, largest          $(sort -n "$scratch/of-nothing" | tail -1)   (at most 1.05)"
