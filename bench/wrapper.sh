#!/usr/bin/env bash
# Times the wrapper on a unit where it does nothing but add remaps and write a note, over the compiler alone.
#
#   bench/wrapper.sh HEADSTART [ROUNDS]
#
# The compiler is a program that ends at once, so that the difference is the wrapper's; the two take turns.
set -euo pipefail
headstart=$(realpath "$1") rounds=${2:-300}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/target/debug/.fingerprint" "$scratch/target/debug/deps"
cd "$scratch"
python3 - "$headstart" "$rounds" <<'EOF'
import os, statistics, subprocess, sys, time
headstart, rounds = sys.argv[1], int(sys.argv[2])
here = os.getcwd()
args = ["/bin/true", "--crate-name", "foo", "src/lib.rs", "--crate-type", "lib", "--emit=dep-info,metadata,link",
        "-C", "metadata=1", "-C", "extra-filename=-1", "--out-dir", here + "/target/debug/deps"]
def run(command):
    begun = time.perf_counter()
    subprocess.run(command, check=True)
    return 1000 * (time.perf_counter() - begun)
alone, wrapped = [], []
for _ in range(rounds):
    alone.append(run(args))
    wrapped.append(run([headstart] + args))
alone, wrapped = statistics.median(alone), statistics.median(wrapped)
print(f"bench/wrapper.sh, {rounds} rounds: alone {alone:.2f} ms, through the wrapper {wrapped:.2f} ms (medians)")
print(f"difference: {wrapped - alone:.2f} ms   (at most 3)")
EOF
