#!/bin/sh
# Makes a checkout ready to use: the locked npm packages, and the compiled code. Needs Node 20 or newer, npm and git.
# Under an older Node the tools run with the Node 24 that is among the locked packages.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/node_modules/.bin:$PATH"
export PATH

if ! node scripts/installed.mjs; then
  echo 'Installing the locked npm packages' >&2
  # Under an older Node npm warns once per package of ours that asks for Node 24.
  npm ci --no-progress --loglevel=error >&2
  # npm leaves out optional binaries that ask for a newer Node than it runs on: once more, run by the Node 24 that is there now.
  if ! ls node_modules/@napi-rs/lzma-*/package.json >/dev/null 2>&1; then
    npm=$(readlink -f "$(PATH="${PATH#*:}" command -v npm)")
    node=$(mktemp)
    cp "$(readlink -f node_modules/.bin/node)" "$node"
    chmod +x "$node"
    "$node" "$npm" ci --no-progress --loglevel=error >&2 || { rm -f "$node"; exit 1; }
    rm -f "$node"
  fi
fi
exec tsc -b
