#!/bin/sh
# Sets everything up and runs all tests. Arguments go to the test runner: npm test -- --test-name-pattern=squash
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/node_modules/.bin:$PATH"
export PATH
# What the programs we compare with print, and what names they take, must not depend on who runs the tests.
LC_ALL=C.UTF-8
export LC_ALL

sh scripts/setup.sh
sh scripts/peers.sh
biome check --log-level=warn .

# A test that was renamed or removed leaves its compiled form behind; it must not run.
find packages/*/dist -name '*.test.js' | while read -r compiled; do
  source=$(printf '%s' "$compiled" | sed 's#/dist/#/src/#; s#\.js$#.ts#')
  [ -e "$source" ] || rm -f "$compiled"
done

# Two files at a time: many tests start programs of their own.
exec node --import "$PWD/scripts/own-coverage.mjs" --test \
  --test-concurrency=2 \
  --test-timeout=300000 \
  --enable-source-maps \
  --experimental-test-coverage \
  --test-coverage-exclude='**/*.test.ts' \
  --test-coverage-exclude='**/*.test.js' \
  --test-coverage-exclude='**/node_modules/**' \
  --test-reporter=./packages/testkit/dist/reporter.js \
  --test-reporter-destination=stdout \
  "$@" \
  'packages/*/dist/**/*.test.js'
