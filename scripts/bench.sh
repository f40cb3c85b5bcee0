#!/bin/sh
# Sets everything up and runs the benchmarks, each beside its peer. Arguments go to them: npm run bench -- --help
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/node_modules/.bin:$PATH"
export PATH

sh scripts/setup.sh
sh scripts/peers.sh
exec node bench/dist/main.js "$@"
