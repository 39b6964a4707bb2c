#!/usr/bin/env bash
# Installs what the interoperability suites need besides Node: official SDKs of other languages and DynamoDB Local into
# .cache/interop, each if its toolchain is installed, and what fresh projects install; Chromium, Redis, and what builds and starts an
# image, with apt-get, if run as root. Suites whose part is missing are skipped by name.
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

if command -v go >/dev/null &&
  (cd test/interop/go && go build -buildvcs=false -o "$into/go-driver" . && go build -buildvcs=false -o "$into/go-evaluator" ./evaluator); then
  echo "interop: Go SDK and evaluator built"
else
  rm -f "$into/go-driver" "$into/go-evaluator"
  echo "interop: no Go SDK"
fi

if command -v go >/dev/null && mkdir -p "$into/go-examples" && (cd examples/go && go build -buildvcs=false -o "$into/go-examples/" ./...); then
  echo "interop: Go examples built"
else
  rm -rf "$into/go-examples"
  echo "interop: no Go examples"
fi

if command -v go >/dev/null && (cd test/interop/otlp && timeout 240 go build -buildvcs=false -o "$into/otlp-decoder" .); then
  echo "interop: OpenTelemetry Collector's decoder built"
else
  rm -f "$into/otlp-decoder"
  echo "interop: no decoder of the OpenTelemetry Collector"
fi

# Prometheus's own tool checks and tests the alert rules. They need none of its clients of clouds, which service discovery brings. It takes
# longer to build than all the rest, so it is built on demand: PROMTOOL=1 bash test/interop/install.sh
if [ -x "$into/promtool" ]; then
  echo "interop: promtool already built"
elif [ -n "${PROMTOOL:-}" ] && command -v go >/dev/null &&
  (cd test/interop/prometheus && go build -buildvcs=false -tags remove_all_sd -ldflags '-s -w' -trimpath -o "$into/promtool" github.com/prometheus/prometheus/cmd/promtool); then
  echo "interop: promtool built"
else
  echo "interop: no promtool (PROMTOOL=1 builds it)"
fi

if command -v go >/dev/null && (cd test/interop/grafana && timeout 240 go build -buildvcs=false -o "$into/grafana-schema" .); then
  echo "interop: Grafana's schemas built"
else
  rm -f "$into/grafana-schema"
  echo "interop: no Grafana schemas"
fi

# One self-contained jar from Maven Central.
java_sdk=com.launchdarkly:launchdarkly-java-server-sdk:7.13.0
if command -v javac >/dev/null && command -v mvn >/dev/null &&
  timeout 180 mvn -q -B dependency:copy -Dartifact="$java_sdk" -DoutputDirectory="$into/java" >/dev/null &&
  javac -cp "$into/java/*" -d "$into/java" test/interop/java/Driver.java; then
  echo "interop: Java SDK installed"
else
  rm -rf "$into/java"
  echo "interop: no Java SDK"
fi

# PHP's SDK needs the extension redis for its Redis store.
if command -v composer >/dev/null && php -m 2>/dev/null | grep -qx redis &&
  mkdir -p "$into/php" && cp test/interop/php/composer.json "$into/php/" &&
  timeout 180 composer --quiet --no-interaction --working-dir="$into/php" update; then
  echo "interop: PHP SDK installed"
else
  rm -rf "$into/php"
  echo "interop: no PHP SDK"
fi

# DynamoDB Local counts as installed once it has started: its native library does not exist for every processor.
sources=test/interop/dynamodb-local
local=$into/dynamodb-local
started() { java -Djava.library.path="$local" -cp "$local:$local/*" Loopback </dev/null 2>/dev/null | grep -q 'listens on'; }
if [ "$local/Loopback.class" -nt "$sources/pom.xml" ] && [ "$local/Loopback.class" -nt "$sources/Loopback.java" ]; then
  echo "interop: DynamoDB Local already installed"
elif rm -rf "$local" && command -v javac >/dev/null && command -v mvn >/dev/null &&
  timeout 60 mvn -q -B -f "$sources/pom.xml" dependency:copy-dependencies -DoutputDirectory="$local" >/dev/null &&
  javac -cp "$local/*" -d "$local" "$sources/Loopback.java" && started; then
  echo "interop: DynamoDB Local installed"
else
  rm -rf "$local"
  echo "interop: no DynamoDB Local"
fi

bash test/interop/install-consumers.sh

if [ "$(id -u)" = 0 ] && [ -f /etc/debian_version ] && command -v apt-get >/dev/null; then
  missing=()
  [ -x /usr/bin/chromium ] || missing+=(chromium)
  [ -x /usr/bin/redis-server ] || missing+=(redis-server)
  [ -x /usr/bin/buildah ] || missing+=(buildah)
  [ -x /usr/sbin/runc ] || missing+=(runc)
  if [ ${#missing[@]} -gt 0 ]; then
    export DEBIAN_FRONTEND=noninteractive
    # Debian would start the Redis that it installs; the tests start their own.
    [ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d && own_policy=1; }
    { timeout 120 apt-get update -qq && timeout 600 apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null 2>&1
    [ -z "${own_policy:-}" ] || rm -f /usr/sbin/policy-rc.d
  fi
fi
for program in chromium redis-server buildah runc; do
  if [ -x "/usr/bin/$program" ] || [ -x "/usr/sbin/$program" ]; then echo "interop: $program installed"; else echo "interop: no $program"; fi
done
