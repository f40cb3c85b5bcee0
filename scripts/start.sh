#!/bin/sh
# Sets everything up and shows the main job on the example app.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/node_modules/.bin:$PATH"
export PATH

sh scripts/setup.sh
exec node examples/dist/start.js
