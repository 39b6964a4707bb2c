#!/usr/bin/env bash
# Installs what the interoperation suites need beside Node, each part only where its toolchain is: official SDKs of
# other languages, into .cache/interop. Suites whose part is missing skip by name.
set -u
cd "$(dirname "$0")/../.."
into=$PWD/.cache/interop
mkdir -p "$into"

if command -v python3 >/dev/null && python3 -m venv "$into/python" &&
  "$into/python/bin/pip" install --quiet --disable-pip-version-check -r test/interop/python/requirements.txt; then
  echo "interop: Python SDK installed"
else
  rm -rf "$into/python"
  echo "interop: no Python SDK"
fi

if command -v go >/dev/null && (cd test/interop/go && go build -buildvcs=false -o "$into/go-driver" .); then
  echo "interop: Go SDK built"
else
  rm -f "$into/go-driver"
  echo "interop: no Go SDK"
fi
