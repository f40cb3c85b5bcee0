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
fi
exec tsc -b
