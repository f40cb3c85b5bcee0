#!/bin/sh
# Fuzzes the parsers; see scripts/fuzz.mjs for the options.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/node_modules/.bin:$PATH"
export PATH

sh scripts/setup.sh
exec node scripts/fuzz.mjs "$@"
