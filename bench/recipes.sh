#!/usr/bin/env bash
# Publishes and starts with two versions of headstart, taking turns: what each keeps and sends of a starting point, and how long it takes.
#
#   bench/recipes.sh REPOSITORY REVISION BEFORE AFTER ROUNDS [CARGO ARGS...]
#
# One target directory, built once, is published into an empty store and an empty remote directory, and started from in an empty target
# directory. With NEXT=REVISION that commit is published behind it, which shows what the next one costs.
set -euo pipefail
repo=$1 rev=$2 before=$(realpath "$3") after=$(realpath "$4") rounds=$5
shift 5
args=("${@:-build}")
scratch=$(mktemp -d "${SCRATCH:-${TMPDIR:-/tmp}}/headstart-recipes-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
export CARGO_TERM_COLOR=never HEADSTART_LATER=off

now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.2f\n", b - a }'; }
median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
range() { sort -n | awk 'NR == 1 { low = $1 } { high = $1 } END { print low " to " high }'; }
size_mb() { find "$@" -type f -printf '%s\n' | awk '{ sum += $1 } END { printf "%.1f", sum / 1e6 }'; }
checkout() { git -C "$1" -c advice.detachedHead=false checkout --quiet --detach "$2"; }
timed() { # <file for the seconds> <directory> <command...>
    local into=$1 dir=$2 t
    shift 2
    sync
    t=$(now)
    (cd "$dir" && "$@" >/dev/null 2>"$scratch/log") || { cat "$scratch/log" >&2; exit 1; }
    since "$t" >>"$into"
}
publish() { # <before or after>
    timed "$scratch/$1.publish" "$scratch/publisher" "${!1}" publish --store "$scratch/$1/near" --remote "file://$scratch/$1/far" -- "${args[@]}"
}

for place in publisher reader; do
    git clone --quiet --no-checkout "$repo" "$scratch/$place"
    checkout "$scratch/$place" "$rev"
done
timed "$scratch/build" "$scratch/publisher" "$after" publish --store "$scratch/built" -- "${args[@]}"
# Nothing is removed meanwhile: ext4 without a journal looks long for inodes that were not just given back.
for ((i = 1; i <= rounds; i++)); do
    for side in before after; do
        mkdir -p "$scratch/old/$i"
        [ ! -e "$scratch/$side" ] || mv "$scratch/$side" "$scratch/old/$i"
        mkdir "$scratch/$side"
        publish "$side"
    done
done
for ((i = 0; i <= rounds; i++)); do
    for side in before after; do
        export CARGO_TARGET_DIR="$scratch/old/$i-$side"
        timed "$scratch/$side.start" "$scratch/reader" "${!side}" start --required --store "$scratch/$side/near" --remote none
        CARGO_TARGET_DIR+=-far
        timed "$scratch/$side.far" "$scratch/reader" "${!side}" start --required --store "$CARGO_TARGET_DIR-store" --remote "file://$scratch/$side/far"
        unset CARGO_TARGET_DIR
        [ "$i" -gt 0 ] || rm "$scratch/$side.start" "$scratch/$side.far" # nothing is in memory yet
    done
done
echo "bench/recipes.sh $(basename "$(dirname "$repo")") $rev, $rounds rounds, cargo ${args[*]}; build and publish $(cat "$scratch/build") s"
for side in before after; do
    echo "$side: store $(size_mb "$scratch/$side/near/objects") MB in $(find "$scratch/$side/near/objects" -type f | wc -l) objects, manifest $(size_mb "$scratch/$side/near/manifests") MB, remote $(size_mb "$scratch/$side/far") MB"
    for what in publish start far; do
        echo "$side: $what $(median <"$scratch/$side.$what") s ($(range <"$scratch/$side.$what"))"
    done
done
[ -n "${NEXT:-}" ] || exit 0
checkout "$scratch/publisher" "$NEXT"
timed "$scratch/next" "$scratch/publisher" "$after" publish --store "$scratch/built" -- "${args[@]}"
for side in before after; do
    near=$(size_mb "$scratch/$side/near/objects") far=$(size_mb "$scratch/$side/far")
    publish "$side"
    echo "$side: the next commit, $NEXT: $(size_mb "$scratch/$side/near/objects") MB in the store, $near before; $(size_mb "$scratch/$side/far") MB in the remote, $far before"
done
