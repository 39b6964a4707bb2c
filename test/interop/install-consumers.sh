#!/usr/bin/env bash
# Fetches what test/package/consumers installs into fresh projects, by the lock files in its folder `parts`, into
# .cache/interop/consumers: npm's cache, pnpm's store, and pnpm itself. The projects then install without a network.
set -u
cd "$(dirname "$0")/../.."
parts=test/package/consumers/parts
into=$PWD/.cache/interop/consumers
locks() { cat "$parts"/*/*lock*; }

if locks | cmp -s - "$into/locks"; then
  echo "interop: parts of fresh projects already installed"
  exit
fi
rm -rf "$into"
mkdir -p "$into"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$parts/." "$work"
# The packages stay in the cache; the folder itself is thrown away.
fetch() { (cd "$work/$1" && timeout 300 npm ci --silent --ignore-scripts --cache "$into/npm-cache"); }
pnpm() { timeout 300 node "$into/node_modules/pnpm/bin/pnpm.cjs" "$@" --ignore-scripts --silent --store-dir "$into/pnpm-store" --cache-dir "$into/pnpm-cache"; }
# Without its lock file pnpm also keeps what the registry says about each package, which it needs to add another one offline.
fetch_for_pnpm() { (cd "$work/$1" && pnpm install --frozen-lockfile && rm pnpm-lock.yaml && pnpm install --lockfile-only); }

# The copy of the lock files comes last: it says that everything that they name is there.
if fetch tools && cp -r "$work/tools/node_modules" "$into/" && fetch cdk && fetch application && fetch_for_pnpm pnpm &&
  locks >"$into/locks"; then
  echo "interop: parts of fresh projects installed"
else
  rm -rf "$into"
  echo "interop: no parts of fresh projects"
fi
