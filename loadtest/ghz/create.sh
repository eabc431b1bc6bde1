#!/usr/bin/env bash
# Sends 200 orders a second, each answered as soon as it is accepted, for 30 s, with ghz.
# The first 1,000 do not count. Settings: create.json; any ghz flag here wins over them:
#
#   loadtest/ghz/create.sh [GHZ FLAGS] [HOST:PORT]
#
# Needs ghz on PATH (tools/clients.sh ghz) and the products and customers of `loadtest setup`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
exec ghz --config create.json "$@"
