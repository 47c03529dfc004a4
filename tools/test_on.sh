#!/usr/bin/env bash
# Run the tests that need no socket, process or long time on one interpreter, in a venv of its own.
# Usage: tools/test_on.sh PYTHON [pytest arguments]
set -euo pipefail
python=$1
shift
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
venv=.venv-$version
echo "python $version: $python"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
if [ ! -e "$venv/.installed" ] || [ setup.cfg -nt "$venv/.installed" ]; then
  "$venv/bin/python" -m pip install --quiet --editable '.[dev,cli,crc,http,zk]'
  touch "$venv/.installed"
fi
exec "$venv/bin/python" -m pytest -q -n "$(nproc)" --dist loadgroup --no-loadscope-reorder \
  -m 'not live and not sim and not slow' "$@"
