#!/usr/bin/env bash
# Times the wrapper on a unit where it does nothing but add remaps and write a note, over the compiler alone.
#
#   bench/wrapper.sh HEADSTART [ROUNDS]
#
# The compiler is a program that ends at once, of the size of rustc, so that the difference is the wrapper's; all take turns. A unit that
# is compiled incrementally costs more: its compiler is digested, and a seed is looked for.
set -euo pipefail
headstart=$(realpath "$1") rounds=${2:-300}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/target/debug/.fingerprint" "$scratch/target/debug/deps"
cd "$scratch"
cp /bin/true rustc
printf 'librustc_driver' >>rustc
truncate -s 645K rustc
python3 - "$headstart" "$rounds" <<'EOF'
import os, statistics, subprocess, sys, time
headstart, rounds = sys.argv[1], int(sys.argv[2])
here = os.getcwd()
args = [here + "/rustc", "--crate-name", "foo", "src/lib.rs", "--crate-type", "lib", "--emit=dep-info,metadata,link",
        "-C", "metadata=1", "-C", "extra-filename=-1", "--out-dir", here + "/target/debug/deps"]
def run(command):
    begun = time.perf_counter()
    subprocess.run(command, check=True)
    return 1000 * (time.perf_counter() - begun)
incremental = args + ["-C", "incremental=" + here + "/target/debug/incremental"]
arms = [args, [headstart] + args, [headstart] + incremental]
times = [[] for _ in arms]
for _ in range(rounds):
    for arm, all in zip(arms, times):
        all.append(run(arm))
alone, wrapped, seeking = map(statistics.median, times)
print(f"bench/wrapper.sh, {rounds} rounds: alone {alone:.2f} ms, through the wrapper {wrapped:.2f} ms, incrementally {seeking:.2f} ms (medians)")
print(f"difference: {wrapped - alone:.2f} and {seeking - alone:.2f} ms   (at most 3)")
EOF
