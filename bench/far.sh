#!/usr/bin/env bash
# Times a start from a remote with an empty store, beside one from a full store and beside `tar` with zstd, taking turns.
#
#   [REMOTE=s3://bucket/prefix] bench/far.sh REPOSITORY REVISION HEADSTART ROUNDS [CARGO ARGS...]
#
# The remote is REMOTE, with the provider's variables; else nginx on this machine, serving what `publish` wrote into a directory. Readers are at the
# publisher's path, so that what `env!` pins is fresh too. Nothing is removed meanwhile: ext4 makes files slowly for minutes after
# that. Needs git, tar and zstd, and nginx where there is no REMOTE.
set -euo pipefail
. "$(dirname "$(realpath "$0")")/nginx.sh"
repo=$1 rev=$2 headstart=$(realpath "$3") rounds=$4
shift 4
args=("${@:-build}")
scratch=$(mktemp -d "${SCRATCH:-${TMPDIR:-/tmp}}/headstart-far-XXXXXX")
trap 'kill ${server:-} 2>/dev/null || true; rm -rf "$scratch"' EXIT
chmod 755 "$scratch" # nginx may serve as another user
export CARGO_TERM_COLOR=never HEADSTART_LATER=off

now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.2f\n", b - a }'; }
median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
clone() { git clone --quiet --no-checkout "$repo" "$1" && git -C "$1" -c advice.detachedHead=false checkout --quiet --detach "$rev"; }

server=
work=$scratch/work
clone "$work"
(cd "$work" && "$headstart" publish --required --json --store "$scratch/near" --remote "${REMOTE:-file://$scratch/far}" -- "${args[@]}" >"$scratch/publish.json" 2>"$scratch/publish.log") || { tail -5 "$scratch/publish.log" >&2; exit 1; }
mv "$work" "$scratch/publisher"
if [ -z "${REMOTE-}" ]; then
    serve "$scratch/far"
    REMOTE=http://127.0.0.1:$port/
fi

start() { # <round> <store> <remote>
    mv "$scratch/clone-$1" "$work"
    sync
    t=$(now)
    (cd "$work" && "$headstart" start --required --believe-store --store "$2" --remote "$3" >/dev/null 2>"$scratch/start.log") || { cat "$scratch/start.log" >&2; exit 1; }
    since "$t"
    mv "$work" "$scratch/reader-$1"
}
clone "$scratch/clone-files"
start files "$scratch/near" none >/dev/null
tar -C "$scratch/reader-files/target" -cf - . | zstd -3 -q -o "$scratch/files.tar.zst"
for ((i = 1; i <= rounds; i++)); do clone "$scratch/clone-far-$i" && clone "$scratch/clone-near-$i" && mkdir "$scratch/tar-$i"; done
sleep 10
for ((i = 1; i <= rounds; i++)); do
    start "far-$i" "$scratch/store-$i" "$REMOTE" >>"$scratch/far.s"
    start "near-$i" "$scratch/near" none >>"$scratch/near.s"
    sync
    t=$(now)
    zstd -d -q -c "$scratch/files.tar.zst" | tar -C "$scratch/tar-$i" -xf -
    since "$t" >>"$scratch/tar.s"
done
far=$(median <"$scratch/far.s") near=$(median <"$scratch/near.s") tar=$(median <"$scratch/tar.s")
echo "bench/far.sh $(basename "$(dirname "$repo")") $rev, ${REMOTE%%:*}, $rounds rounds, cargo ${args[*]}; a starting point of $(du -sm "$scratch/near/objects" | cut -f1) MB"
echo "placed $(du -sm --apparent-size "$scratch/tar-1" | cut -f1) MB; medians: from the remote $far s, from a full store $near s, tar and zstd $tar s"
echo "seconds of each round: from the remote $(xargs <"$scratch/far.s"); from the store $(xargs <"$scratch/near.s"); tar $(xargs <"$scratch/tar.s")"
awk -v a="$far" -v b="$near" -v c="$tar" 'BEGIN { printf "ratio: remote / store      %.2f   (at most 1.5)\nratio: remote / tar, zstd  %.2f   (at most 2.0)\n", a / b, a / c }'
