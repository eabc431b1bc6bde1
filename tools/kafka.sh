#!/usr/bin/env bash
# A real Apache Kafka (KRaft, one node or several) for tests and benchmarks, from its published jars.
#
#   tools/kafka.sh start [DIR] [NODES]    start; prints the brokers' addresses alone on its last line
#   tools/kafka.sh stop  [DIR]            stop and keep the data
#   tools/kafka.sh kill|pause|resume|restart DIR NODE
#                                         one node: kill -9; SIGSTOP; SIGCONT; start it again on its data
#   tools/kafka.sh tool NAME ARGS...      Kafka's own tools: topics, configs, consumer-groups, console-consumer,
#                                         console-producer, dump-log, producer-perf, verifiable-producer, or a class
#   tools/kafka.sh jars                   fetch the jars only; prints their folder
#
# DIR (default: ordermesh-kafka in the folder for temporary files) holds data, logs, ports and process ids. Ports are
# picked free on 127.0.0.1. Needs java 17 or newer, and mvn for the first start, which fetches about 90 MB.
# KAFKA_VERSION picks another version, KAFKA_CACHE another place for the jars, KAFKA_HEAP the heap of a node (512m),
# KAFKA_PROPS a file of further broker properties. With KAFKA_SECURE=1 every node also listens with TLS and a login (PLAIN,
# SCRAM-SHA-256, SCRAM-SHA-512): DIR/secure has the addresses, DIR/ca.pem the authority, the user is mesh, its password secret.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=${KAFKA_VERSION:-4.1.2}
cache=${KAFKA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ordermesh-tools/kafka-$version}
default_dir=${TMPDIR:-/tmp}/ordermesh-kafka
secure=${KAFKA_SECURE:-}

die() { echo "kafka.sh: $*" >&2; exit 1; }

jars() {
  command -v java >/dev/null || die "java is missing: install a Java runtime, 17 or newer (Debian: apt-get install default-jre-headless)"
  [ ! -f "$cache/.done" ] || return 0
  command -v mvn >/dev/null || die "mvn is missing, which fetches Kafka's jars (Debian: apt-get install maven)"
  mkdir -p "$cache"
  mvn -q -B -f "$here/kafka/pom.xml" -Dkafka.version="$version" dependency:copy-dependencies -DoutputDirectory="$cache" >&2
  touch "$cache/.done"
}

run_java() { java -Dordermesh.log.level=WARN -cp "$here/kafka:$cache/*" "$@"; }

# A process that has ended but was not waited for is not alive.
alive() { [ -n "${1:-}" ] && kill -0 "$1" 2>/dev/null && ! grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null; }

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Below the ports that outgoing connections are given, so that a restarted node finds its own free.
free_port() {
  local port
  for _ in $(seq 100); do
    port=$((20000 + RANDOM % 12000))
    listens "$port" || { echo "$port"; return; }
  done
  die "no port is free"
}

process() { cat "$1/$2/pid" 2>/dev/null || die "$1 has no node $2 that was started"; }

node() { # DIR N: start it and wait until it answers
  local dir=$1 n=$2
  : >"$dir/$n/log"
  nohup setsid java -Xmx"${KAFKA_HEAP:-512m}" -XX:+UseG1GC -cp "$here/kafka:$cache/*" kafka.Kafka "$dir/$n/server.properties" \
    >>"$dir/$n/log" 2>&1 </dev/null &
  echo $! >"$dir/$n/pid"
  for _ in $(seq 900); do
    if grep -q "Kafka Server started" "$dir/$n/log" && listens "$(cat "$dir/$n/port")"; then return; fi
    alive "$(cat "$dir/$n/pid")" || { tail -20 "$dir/$n/log" >&2; die "node $n ended; its log is above"; }
    sleep 0.1
  done
  die "node $n did not start in 90 s; see $dir/$n/log"
}

properties() { # DIR N VOTERS REPLICAS
  local dir=$1 n=$2 port controller listeners map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
  port=$(cat "$dir/$n/port")
  controller=$(cat "$dir/$n/controller")
  listeners=PLAINTEXT://127.0.0.1:$port
  if [ -n "$secure" ]; then
    listeners+=,SECURE://127.0.0.1:$(cat "$dir/$n/secure")
    map+=,SECURE:SASL_SSL
    cat <<EOF
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
ssl.keystore.type=PKCS12
ssl.keystore.location=$dir/keys.p12
ssl.keystore.password=keystore
listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_mesh="secret";
listener.name.secure.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secure.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
EOF
  fi
  cat <<EOF
process.roles=broker,controller
node.id=$n
listeners=$listeners,CONTROLLER://127.0.0.1:$controller
advertised.listeners=$listeners
listener.security.protocol.map=$map
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.voters=$3
log.dirs=$dir/$n/data
num.partitions=1
default.replication.factor=$4
min.insync.replicas=$(($4 > 1 ? 2 : 1))
offsets.topic.num.partitions=8
offsets.topic.replication.factor=$4
transaction.state.log.num.partitions=8
transaction.state.log.replication.factor=$4
transaction.state.log.min.isr=$(($4 > 1 ? 2 : 1))
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
EOF
  [ -z "${KAFKA_PROPS:-}" ] || cat "$KAFKA_PROPS"
}

certificate() { # DIR: a key for all nodes, and the certificate that clients trust
  rm -f "$1/keys.p12"
  keytool -genkeypair -alias kafka -keyalg EC -groupname secp256r1 -dname CN=localhost -validity 3650 \
    -ext san=ip:127.0.0.1,dns:localhost -storetype PKCS12 -keystore "$1/keys.p12" -storepass keystore >/dev/null 2>&1
  keytool -exportcert -rfc -alias kafka -keystore "$1/keys.p12" -storepass keystore >"$1/ca.pem" 2>/dev/null
}

start() {
  local dir=$1 nodes=$2 voters="" bootstrap="" secured="" id n replicas scram=()
  jars
  [ ! -e "$dir/bootstrap" ] || die "$dir is in use: tools/kafka.sh stop $dir"
  replicas=$((nodes < 3 ? nodes : 3))
  for n in $(seq "$nodes"); do
    # What an earlier start left is not mixed with this one.
    rm -rf "${dir:?}/$n"
    mkdir -p "$dir/$n"
    free_port >"$dir/$n/port"; free_port >"$dir/$n/controller"; free_port >"$dir/$n/secure"
    voters+="${voters:+,}$n@127.0.0.1:$(cat "$dir/$n/controller")"
    bootstrap+="${bootstrap:+,}127.0.0.1:$(cat "$dir/$n/port")"
    secured+="${secured:+,}127.0.0.1:$(cat "$dir/$n/secure")"
  done
  if [ -n "$secure" ]; then
    certificate "$dir"
    for n in 256 512; do scram+=(--add-scram "SCRAM-SHA-$n=[name=mesh,password=secret]"); done
    echo "$secured" >"$dir/secure"
  fi
  id=$(run_java kafka.tools.StorageTool random-uuid)
  for n in $(seq "$nodes"); do
    properties "$dir" "$n" "$voters" "$replicas" >"$dir/$n/server.properties"
    run_java kafka.tools.StorageTool format -t "$id" -c "$dir/$n/server.properties" "${scram[@]}" >"$dir/$n/format.log" 2>&1 \
      || { cat "$dir/$n/format.log" >&2; die "the data folder of node $n cannot be made"; }
  done
  echo "$bootstrap" >"$dir/bootstrap"
  local starting=()
  for n in $(seq "$nodes"); do node "$dir" "$n" & starting+=($!); done
  for n in "${starting[@]}"; do wait "$n" || { stop "$dir"; die "not all nodes started"; }; done
  echo "$bootstrap"
}

stop() {
  local dir=$1 file
  for file in "$dir"/*/pid; do
    [ -e "$file" ] || continue
    # One that was paused has to run to end.
    kill -CONT "$(cat "$file")" 2>/dev/null || true
    kill "$(cat "$file")" 2>/dev/null || true
  done
  for file in "$dir"/*/pid; do
    [ -e "$file" ] || continue
    for _ in $(seq 150); do alive "$(cat "$file")" || break; sleep 0.1; done
    ! alive "$(cat "$file")" || kill -9 "$(cat "$file")"
    rm -f "$file"
  done
  rm -f "$dir/bootstrap" "$dir/secure"
}

# Gone when this returns: what the process had open is free for the next one.
crash() {
  local process
  process=$(process "$1" "$2")
  kill -9 "$process"
  for _ in $(seq 300); do alive "$process" || return 0; sleep 0.1; done
  die "node $2 (process $process) does not die"
}

restart() {
  local before
  jars
  before=$(process "$1" "$2")
  ! alive "$before" || die "node $2 is running (process $before)"
  node "$1" "$2"
}

tool() {
  local name=$1
  shift
  jars
  case $name in
    topics) run_java org.apache.kafka.tools.TopicCommand "$@" ;;
    configs) run_java kafka.admin.ConfigCommand "$@" ;;
    consumer-groups) run_java org.apache.kafka.tools.consumer.group.ConsumerGroupCommand "$@" ;;
    console-consumer) run_java org.apache.kafka.tools.consumer.ConsoleConsumer "$@" ;;
    console-producer) run_java org.apache.kafka.tools.ConsoleProducer "$@" ;;
    dump-log) run_java kafka.tools.DumpLogSegments "$@" ;;
    producer-perf) run_java org.apache.kafka.tools.ProducerPerformance "$@" ;;
    verifiable-producer) run_java org.apache.kafka.tools.VerifiableProducer "$@" ;;
    *) run_java "$name" "$@" ;;
  esac
}

dir=${2:-$default_dir}
case ${1:-} in
  start) mkdir -p "$dir"; start "$(cd "$dir" && pwd)" "${3:-1}" ;;
  stop) stop "$dir" ;;
  kill) crash "$dir" "${3:-1}" ;;
  pause) kill -STOP "$(process "$dir" "${3:-1}")" ;;
  resume) kill -CONT "$(process "$dir" "${3:-1}")" ;;
  restart) restart "$dir" "${3:-1}" ;;
  tool) shift; [ $# -gt 0 ] || die "tool: which?"; tool "$@" ;;
  jars) jars; echo "$cache" ;;
  *) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 2 ;;
esac
