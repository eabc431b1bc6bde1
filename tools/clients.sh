#!/usr/bin/env bash
# The outside programs that a user of Ordermesh has, for tests and for the commands in the documents: grpcurl, ghz, jaeger
# (all-in-one), kcat; and docker-compose and promtool, which say whether compose.yaml and deploy/prometheus are sound.
#
#   tools/clients.sh NAME...    makes sure that each named one is there; prints the folder to put on PATH
#   PATH="$(tools/clients.sh grpcurl ghz):$PATH"
#
# All but kcat, which is the distribution's, are built from their Go modules at pinned versions, every dependency checked against
# its recorded hash (needs go 1.25 or newer; jaeger, docker-compose and promtool take minutes). A second call finds all in the cache.
# Jaeger is built without its web pages: its OTLP ports (4317, 4318) and its query API (16686) are real.
# CLIENTS_CACHE picks another folder; the default lies outside the work tree, in the user's cache.
set -euo pipefail

cache=${CLIENTS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ordermesh-tools/clients}
grpcurl=github.com/fullstorydev/grpcurl@v1.9.3
ghz=github.com/bojand/ghz@v0.120.0
jaeger=github.com/jaegertracing/jaeger@v1.76.0
compose=github.com/docker/compose/v2@v2.38.2
prometheus=github.com/prometheus/prometheus@v0.307.3

die() { echo "clients.sh: $*" >&2; exit 1; }

need_go() { command -v go >/dev/null || die "go is needed to build $1"; }

# build NAME MODULE@VERSION PACKAGE: what `go install` refuses, since the module's go.mod replaces or excludes something
build() (
  need_go "$1"
  build=$(mktemp -d)
  trap 'rm -rf "$build"' EXIT
  cd "$build"
  export GOFLAGS=-mod=mod
  go mod init build
  go mod download "$2"
  # The module's own list of hashes: without it, each dependency would be trusted on first sight.
  cat "$(go list -m -f '{{.Dir}}' "$2")/go.sum" >go.sum
  go mod edit -require="$2"
  go build -o "$cache/$1" "${2%@*}/$3"
)

[ $# -gt 0 ] || { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 2; }
mkdir -p "$cache"
for name in "$@"; do
  [ -x "$cache/$name" ] && continue
  case $name in
    grpcurl) need_go grpcurl; GOBIN=$cache go install "${grpcurl/@//cmd/grpcurl@}" >&2 ;;
    ghz) need_go ghz; GOBIN=$cache go install "${ghz/@//cmd/ghz@}" >&2 ;;
    jaeger) build jaeger "$jaeger" cmd/all-in-one >&2 ;;
    docker-compose) build docker-compose "$compose" cmd >&2 ;;
    promtool) build promtool "$prometheus" cmd/promtool >&2 ;;
    kcat)
      found=$(command -v kcat) || die "kcat is missing: install it with your package manager (Debian: apt-get install kcat)"
      ln -sf "$found" "$cache/kcat" ;;
    *) die "$name: not one of grpcurl ghz jaeger kcat docker-compose promtool" ;;
  esac
done
echo "$cache"
