#!/bin/sh
# Unused files, exports and dependencies; and what would be published.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/node_modules/.bin:$PATH"
export PATH

sh scripts/setup.sh
knip
for package in packages/*/; do
  if ! grep -q '"private": true' "$package/package.json"; then
    publint --strict "$package"
  fi
done
