#!/bin/sh
# Builds the pages into the directory given; installs packages only when the lock file changed.
set -eu
out=$1
stamp=node_modules/.installed-lock
if ! cmp -s package-lock.json "$stamp" 2>/dev/null; then
  npm ci --no-progress
  cp package-lock.json "$stamp"
fi
npm run --silent build -- --outDir "$out" --emptyOutDir
