#!/bin/sh
# Installs the Debian packages that tests compare with, when it may; otherwise names the command to run.
# Tests whose program is missing are skipped visibly, so this never fails the run.
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
  say "This is not Debian: tests that need other programs (scripts/peers.txt) are skipped where these are missing."
  exit 0
fi

missing=''
for package in $(sed 's/#.*//' scripts/peers.txt); do
  state=$(dpkg-query --show --showformat='${db:Status-Abbrev}' "$package" 2>/dev/null || true)
  case "$state" in
    ii*) ;;
    *) missing="$missing $package" ;;
  esac
done
[ -n "$missing" ] || exit 0

install="apt-get install --yes --no-install-recommends$missing"
if [ "$(id -u)" = 0 ]; then
  as_root=''
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
  as_root='sudo -n'
elif command -v sudo >/dev/null 2>&1 && [ -t 0 ] && [ -t 2 ]; then
  say "Tests compare with programs from Debian; sudo is needed to install:$missing"
  as_root='sudo'
else
  say "Tests compare with programs that are not installed, and this user may not install them. Run as root:"
  say "  apt-get update && $install"
  exit 0
fi

say "Installing from Debian:$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Words of $as_root and $missing are meant to be split.
# shellcheck disable=SC2086
if $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update >"$log" 2>&1 &&
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install --yes --no-install-recommends $missing >>"$log" 2>&1; then
  exit 0
fi
tail -n 15 "$log" >&2
say "Could not install them. The tests that need them are skipped. Run as root:"
say "  apt-get update && $install"
