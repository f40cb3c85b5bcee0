#!/bin/sh
# libostree's own test suite with our command in its place; see scripts/conformance.mjs for the options.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/node_modules/.bin:$PATH"
export PATH

sh scripts/setup.sh
exec node scripts/conformance.mjs "$@"
