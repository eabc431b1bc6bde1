#!/usr/bin/env bash
# Measures the whole mesh in one process on this machine, driver beside it, and writes all figures into one file:
# latency at fixed rates, the most orders a second, processor time, memory, fsyncs, and restarts with many orders.
#
#   loadtest/bench.sh [--quick] [PART...]   parts: os group restart watch kafka flow (the first three when none is named)
#
#   os       acknowledged = handed to the operating system: 200/s, 1,000/s, closed loop; idle before and after
#   group    acknowledged = fsynced: the same, with the counters of records, bytes and fsyncs
#   restart  kill -9 with ORDERS orders in state, then the time until orders are validated again,
#            with the local stores and without them
#   watch    1,000 watches, each of one order, of one customer or of all orders: memory of each, idle, and 50/s without
#            and with them
#   kafka    on a real Kafka of one node (tools/kafka.sh), with one instance and with three: 50, 200, 500 and 1,000/s,
#            closed loop; what the broker costs beside the mesh; idle. A young broker is slow: it warms up first
#   flow     the flow of three services that other systems are compared with, without a broker: 200/s and 1,000/s,
#            closed loop, two calls an order and one, with the counters; then the floor: the same calls to a gRPC
#            server with nothing behind it
#
# --quick shortens every cell and restarts with few orders: to see that it works, not for figures.
# Environment: DATA (a folder for the data, on the disk to be measured; default: a new one under TMPDIR),
# RESULT (the file; default: loadtest/results/DATE-COMMIT.json), ORDERS (default 1000000), PORT (default 20151).
# Run it with nothing else on the machine; it says so when there is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=60 warmup=20s closed=30s idle=30s warm=3m orders=${ORDERS:-1000000} watchers=1000
commit=$(git rev-parse --short=10 HEAD 2>/dev/null || echo unknown)
[ -z "$(git status --porcelain --untracked-files=no 2>/dev/null)" ] || commit+=-dirty
result=${RESULT:-loadtest/results/$(date -u +%F)-$commit.json}
if [ "${1:-}" = --quick ]; then
  shift
  seconds=5 warmup=2s closed=5s idle=3s warm=5s orders=${ORDERS:-5000} watchers=50 result=${RESULT:-}
fi
parts=("$@")
[ $# -gt 0 ] || parts=(os group restart)
# Below the ports that systems deal out to clients: the mesh has hundreds of connections to a broker, and one could have it.
port=${PORT:-20151}
address=127.0.0.1:$port metrics=127.0.0.1:$((port + 1))
work=$(mktemp -d "${DATA:-${TMPDIR:-/tmp}}/ordermesh-bench.XXXXXX")
server="" kafka="" brokers="" broker=""
instances=()

die() { echo "bench.sh: $*" >&2; exit 1; }

stop() { # stop SIGNAL
  [ -n "$server" ] || return 0
  kill "-$1" "$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
  server=""
}
trap 'stop KILL; leave; [ -z "$kafka" ] || tools/kafka.sh stop "$kafka"; rm -rf "$work"' EXIT

start() { # start DIR FLAGS...: sets server and started
  local data=$work/$1
  shift
  started=$(date +%s%3N)
  target/release/ordermesh dev --listen "$address" --data "$data" "$@" >>"$work/server.log" 2>&1 &
  server=$!
}

cell=0
tool() { # tool COMMAND LABEL FLAGS...: one result
  local command=$1 label=$2
  shift 2
  cell=$((cell + 1))
  # Only the row of its table: all of them follow at the end.
  target/release/loadtest "$command" --label "$label" --commit "$commit" \
    --json "$(printf '%s/cell-%02d.json' "$work" "$cell")" "$@" | tail -1 ||
    { tail -5 "$work/server.log" >&2; die "$label failed"; }
}

setup() { target/release/loadtest setup --addr "$address" "$@"; }
warm_up() {
  target/release/loadtest run --addr "$address" --mode closed --duration "$warmup" --warmup 0s --connections 8 >/dev/null
}
open() { # open LABEL RATE FLAGS...
  local label=$1 rate=$2
  shift 2
  tool run "$label" --addr "$address" --pid "$server" --rate "$rate" --duration "${seconds}s" --warmup 5s "$@"
}
closed() { # closed LABEL IN_FLIGHT FLAGS...
  local label=$1 in_flight=$2
  shift 2
  tool run "$label" --addr "$address" --pid "$server" --mode closed --in-flight "$in_flight" --connections 8 \
    --duration "$closed" --warmup 5s "$@"
}

part_os() {
  start os --sync os
  setup
  stop TERM
  start os --sync os
  tool first "start, no orders in state" --addr "$address" --since "$started"
  tool idle "os: idle after start" --pid "$server" --duration "$idle"
  warm_up
  open "os" 200
  open "os, one call an order" 200 --wait create
  open "os" 1000
  closed "os" 1024
  closed "os, one call an order" 1024 --wait create
  tool idle "os: idle after load" --pid "$server" --duration "$idle"
  stop TERM
}

part_group() {
  tool disk "disk of the data" --dir "$work"
  start group --sync group --metrics "$metrics"
  setup
  warm_up
  open "group" 200 --metrics "$metrics"
  open "group" 1000 --metrics "$metrics"
  closed "group" 1024 --metrics "$metrics"
  stop TERM
}

part_restart() {
  start restart --sync os
  setup
  tool run "fill" --addr "$address" --pid "$server" --mode closed --in-flight 1024 --connections 8 --wait create \
    --orders "$orders" --duration 2h --warmup 0s
  stop KILL
  du -sm "$work/restart/log" "$work/restart/state" | sed "s|$work/restart/||; s|^|MiB |"
  start restart --sync os
  tool first "killed with $orders orders, stores kept" --addr "$address" --since "$started"
  tool idle "after restart with $orders orders" --pid "$server" --duration "$idle"
  stop KILL
  rm -rf "$work/restart/state"
  start restart --sync os
  tool first "killed with $orders orders, stores lost" --addr "$address" --since "$started"
  stop TERM
}

part_watch() {
  local of
  for of in order customer all; do
    # A process of its own for each: memory that one has given back stays with its process.
    start "watch-$of" --sync os
    setup
    tool watch "watch" --addr "$address" --pid "$server" --watchers "$watchers" --of "$of" --rate 50 \
      --duration "${seconds}s" --warmup 5s --idle "$idle"
    stop TERM
  done
}

serve() { # serve N: instance N of a mesh on Kafka; the first one is the gateway
  local n=$1
  target/release/ordermesh serve --brokers "$brokers" --instance "bench-$n" --data "$work/instance-$n" --partitions 8 \
    --listen "127.0.0.1:$((port + 10 * n))" --metrics "127.0.0.1:$((port + 10 * n + 1))" --workshop 0 \
    >>"$work/server.log" 2>&1 &
  instances+=($!)
  until target/release/ordermesh health --addr "127.0.0.1:$((port + 10 * n))" >/dev/null 2>&1; do
    kill -0 "${instances[-1]}" 2>/dev/null || { tail -5 "$work/server.log" >&2; die "instance $n does not run"; }
    sleep 0.2
  done
}
leave() { # all instances hand over and end
  [ ${#instances[@]} -gt 0 ] || return 0
  kill -TERM "${instances[@]}" 2>/dev/null || true
  wait "${instances[@]}" 2>/dev/null || true
  instances=()
}
joined() { local IFS=,; echo "$*"; }

on_kafka() { # on_kafka LABEL: the cells with the instances that run
  local label=$1 n addresses=()
  for n in "${!instances[@]}"; do addresses+=("127.0.0.1:$((port + 10 * (n + 1) + 1))"); done
  address=127.0.0.1:$((port + 10))
  local costs=(--broker-pid "$broker" --metrics "$(joined "${addresses[@]}")")
  server=$(joined "${instances[@]}")
  setup
  target/release/loadtest run --addr "$address" --mode closed --duration "$warm" --warmup 0s --connections 8 >/dev/null
  for rate in 50 200 500 1000; do open "$label" "$rate" "${costs[@]}"; done
  closed "$label" 1024 "${costs[@]}"
  tool idle "$label: idle" --pid "${instances[0]}" --duration "$idle"
  tool idle "$label: idle, broker" --pid "$broker" --duration "$idle"
  server=""
}

part_kafka() {
  kafka=$work/kafka
  brokers=$(tools/kafka.sh start "$kafka" 1 | tail -1)
  broker=$(cat "$kafka/1/pid")
  serve 1
  on_kafka "kafka, one instance"
  serve 2
  serve 3
  on_kafka "kafka, three instances"
  leave
  tools/kafka.sh stop "$kafka"
  kafka=""
}

part_flow() {
  start flow --sync os --workshop 0 --roles orders,validation,inventory --checks details,fraud,inventory --partitions 8 \
    --metrics "$metrics"
  setup --customers 0
  warm_up
  open "flow" 200 --metrics "$metrics"
  open "flow, one call an order" 200 --wait create --metrics "$metrics"
  open "flow" 1000 --metrics "$metrics"
  closed "flow" 1024 --metrics "$metrics"
  closed "flow, one call an order" 1024 --wait create --metrics "$metrics"
  tool idle "flow: idle after load" --pid "$server" --duration "$idle"
  stop TERM
  target/release/loadtest bare --listen "$address" >>"$work/server.log" 2>&1 &
  server=$!
  # Tries until it listens.
  target/release/loadtest first --addr "$address" >/dev/null
  warm_up
  open "bare gRPC server" 200
  open "bare gRPC server, one call an order" 200 --wait create
  open "bare gRPC server" 1000
  closed "bare gRPC server" 1024
  closed "bare gRPC server, one call an order" 1024 --wait create
  stop TERM
}

for part in "${parts[@]}"; do
  case $part in
    os | group | restart | watch | kafka | flow) ;;
    *) die "$part: not one of os group restart watch kafka flow" ;;
  esac
done
read -r load _ </proc/loadavg
awk -v load="$load" 'BEGIN { exit load < 0.5 }' && echo "bench.sh: the machine is busy (load $load): these are no figures" >&2
cargo build --release --locked -p ordermesh -p loadtest
for part in "${parts[@]}"; do "part_$part"; done

echo
if [ -n "$result" ]; then
  mkdir -p "$(dirname "$result")"
  target/release/loadtest summary --into "$result" "$work"/cell-*.json
  printf '\nwritten to %s\n' "$result"
else
  target/release/loadtest summary "$work"/cell-*.json
fi
