#!/usr/bin/env bash
# Three nodes of Garage on this machine, of which one is killed while a commit is pushed and ten readers start: what each of them got.
#
#   bench/garage.sh REPOSITORY REVISION HEADSTART [CARGO ARGS...]
#
# Needs `garage` (`cargo install garage --locked`). The commit before REVISION is published first, which the readers start from; each is a
# fresh clone with an empty store and looks for every byte there. Prints what came, and whether cargo then ran rustc.
set -euo pipefail
repo=$1 rev=$2 headstart=$(realpath "$3")
shift 3
args=("${@:-build}")
scratch=$(mktemp -d "${SCRATCH:-${TMPDIR:-/tmp}}/headstart-garage-XXXXXX")
nodes=()
trap 'kill -9 "${nodes[@]}" 2>/dev/null || true; wait 2>/dev/null; rm -rf "$scratch"' EXIT
export CARGO_TERM_COLOR=never GIT_ADVICE=0 HEADSTART_LATER=off RUST_LOG=error
secret=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
garage() { command garage -c "$scratch/1.toml" "$@"; }
clone() { git clone --quiet --no-checkout "$repo" "$1" && git -C "$1" -c advice.detachedHead=false checkout --quiet --detach "$2"; }

for node in 1 2 3; do
    rpc=$(free_port) s3=$(free_port)
    if [ $node = 1 ]; then endpoint=http://127.0.0.1:$s3; fi
    cat >"$scratch/$node.toml" <<TOML
metadata_dir = "$scratch/$node/meta"
data_dir = "$scratch/$node/data"
db_engine = "sqlite"
replication_factor = 3
rpc_bind_addr = "127.0.0.1:$rpc"
rpc_public_addr = "127.0.0.1:$rpc"
rpc_secret = "$secret"
[s3_api]
s3_region = "garage"
api_bind_addr = "127.0.0.1:$s3"
TOML
    command garage -c "$scratch/$node.toml" server >"$scratch/$node.log" 2>&1 &
    nodes+=($!)
    for _ in $(seq 100); do curl -s -o /dev/null "http://127.0.0.1:$s3" && break || sleep 0.1; done
    ids[node]=$(command garage -c "$scratch/$node.toml" node id -q 2>/dev/null)
done
for node in 2 3; do garage node connect "${ids[node]}" >/dev/null; done
for node in 1 2 3; do garage layout assign -z "z$node" -c 10G "${ids[node]%%@*}" >/dev/null; done
garage layout apply --version 1 >/dev/null
garage bucket create starting-points >/dev/null
garage key create publisher >"$scratch/key"
garage bucket allow --read --write --owner starting-points --key publisher >/dev/null
AWS_ACCESS_KEY_ID=$(awk '/Key ID/ { print $NF }' "$scratch/key")
AWS_SECRET_ACCESS_KEY=$(awk '/Secret key/ { print $NF }' "$scratch/key")
export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_REGION=garage AWS_ENDPOINT_URL=$endpoint HEADSTART_REMOTES=s3://starting-points

publish() { (cd "$scratch/publisher" && "$headstart" publish --required --json --store "$scratch/store" -- "${args[@]}" >"$scratch/$1.json" 2>>"$scratch/publish.log") || { tail -5 "$scratch/publish.log" >&2; return 1; }; }
start() { # <reader>: what came, in one line
    local said
    said=$(cd "$scratch/reader-$1" && "$headstart" start --required --json --believe-store --store "$scratch/store-$1" 2>"$scratch/reader-$1.log") || { echo "reader $1: no starting point: $(tail -1 "$scratch/reader-$1.log")"; return; }
    python3 -c 'import json, sys; s = json.loads(sys.argv[2]); print("reader", sys.argv[1] + ":", s["commit"][:10], s["units"], "in %.1f s" % s["seconds"])' "$1" "$said"
    grep -E "warning" "$scratch/reader-$1.log" | sort -u | head -3 || true
}

clone "$scratch/publisher" "$rev~1"
publish before
for reader in $(seq 10); do clone "$scratch/reader-$reader" "$rev~1"; done
git -C "$scratch/publisher" checkout --quiet --detach "$rev"
(cd "$scratch/publisher" && RUSTC_WRAPPER=$headstart cargo "${args[@]}" >/dev/null 2>&1) # so that the push begins soon
echo "bench/garage.sh $(basename "$(dirname "$repo")") $rev, cargo ${args[*]}, $(command garage --version | head -1)"
publish after &
publisher=$!
readers=()
for reader in $(seq 10); do
    start "$reader" >"$scratch/said-$reader" &
    readers+=($!)
    if [ "$reader" = 3 ]; then
        disown "${nodes[2]}" && kill -9 "${nodes[2]}"
        echo "node 3 is killed: the push and readers 1 to 3 are under way, 4 to 10 begin"
    fi
    sleep 0.2
done
wait "$publisher" && echo "pushed: $(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["remotes"][0])' "$scratch/after.json")"
wait "${readers[@]}"
for reader in $(seq 10); do cat "$scratch/said-$reader"; done
for reader in 1 10; do
    echo "cargo in reader $reader compiled: $(cd "$scratch/reader-$reader" && cargo "${args[@]}" 2>&1 | grep -c Compiling || true) units"
done
clone "$scratch/reader-last" "$rev"
start last
