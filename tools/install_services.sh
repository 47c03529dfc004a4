#!/usr/bin/env bash
# Install the Debian packages that some tests and comparisons use; starts no daemon.
# Usage: tools/install_services.sh [--missing]   (--missing: only name what is not installed)
set -euo pipefail

# One line each: package, and what needs it. ZooKeeper is run from its library's jar, which
# brings neither a daemon nor a desktop's Java.
packages=(
  libzookeeper-java     # ZooKeeper: unit_test/fix_services.py, tools/compare_coordination.py
  default-jre-headless  # runs it
  etcd-server           # etcd: the same two
  g++                   # mprpc's peer in C++: unit_test/interop/mprpc
  protobuf-compiler     # its messages
  libprotobuf-dev
  libzookeeper-mt-dev   # its registry
  golang-go             # TinyRPC's peer in Go: unit_test/interop/go (70 MB to load, 450 MB on disk)
  iproute2              # networks of our own: unit_test/faults, tools/measure_partitions.py
  iptables              # cuts between their hosts
  libfaketime           # wall clocks that jump: unit_test/faults/test_clock.py
)

fail() { echo "make services: $*" >&2; exit 1; }

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# Boot must not start them either. `disable` works without a running systemd, as in containers.
disable_units_of() {
  command -v systemctl >/dev/null || return 0
  local unit
  for unit in $(dpkg-query -L "$1" | sed -n 's,.*/systemd/system/\([^/]*\.service\)$,\1,p'); do
    echo "leaving $unit disabled"
    systemctl --quiet disable "$unit" || fail "cannot disable $unit, which $1 brought"
  done
}

missing=()
for package in "${packages[@]}"; do
  if command -v dpkg-query >/dev/null && installed "$package"; then continue; fi
  missing+=("$package")
done
if [ "${1-}" = --missing ]; then echo "${missing[@]}"; exit; fi
if [ ${#missing[@]} = 0 ]; then echo "installed already: ${packages[*]}"; exit; fi
command -v apt-get >/dev/null || fail "no apt-get here: install these yourself: ${missing[*]}"
[ "$(id -u)" = 0 ] || fail "only root can install ${missing[*]}: say sudo make services"

# Debian starts what it installs, unless this program says 101.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod 755 "$policy"
elif "$policy" etcd start >/dev/null 2>&1; then
  fail "$policy lets daemons start: move it away, or install ${missing[*]} yourself"
fi

echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# A machine that has just started may be at its own updates, and a mirror may miss a beat.
patiently() { apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=5 "$@"; }
for try in 1 2 3; do
  if patiently update; then break; fi
  if [ "$try" = 3 ]; then fail "apt-get update failed"; fi
  sleep 10  # the lists have a lock that apt-get does not wait for
done
patiently install -y --no-install-recommends "${missing[@]}" || fail "apt-get install failed"
for package in "${missing[@]}"; do disable_units_of "$package"; done
