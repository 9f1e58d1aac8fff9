# What demo_test and setup_test share: sourced by them, not run.
# A tree of the test's own: the programs of launch/ as they are, and stand-ins for all that could install, configure or
# compile. In the checkout itself launch/setup would do so in the middle of the tests wherever something has changed
# since the build, and launch/demo would remove the runs/demo that lies there.
# shellcheck shell=bash
set -euo pipefail

repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
work="$(cd "$(mktemp -d)" && pwd)"
trap 'rm -rf "$work"' EXIT
tree="$work/tree" tools="$work/tools" calls="$work/calls"

fail() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# stand_in FILE: a program with the lines of stdin; a line in $calls says that it was called, and with what.
stand_in() {
  {
    printf '#!%s\nprintf "%%s\\n" "%s $*" >>"%s"\n' "$(command -v bash)" "${1##*/}" "$calls"
    cat
  } >"$1"
  chmod +x "$1"
}

mkdir -p "$tree"/{launch,build,.venv/bin,.venv/lib/python3/site-packages/torch} "$tools"
cp "$repository"/launch/{demo,lib.sh,setup} "$tree/launch/"
cp "$repository/CMakePresets.json" "$tree/"
cp -r "$repository/configs" "$tree/"
: >"$calls"

# Called as: dpkg-query -W -f=FORMAT NAME...; all are installed but those in MISSING.
stand_in "$tools/dpkg-query" <<'STAND_IN'
for name in "${@:3}"; do
  [[ " ${MISSING:-} " == *" $name "* ]] || echo "installed $name"
done
STAND_IN
# Called as: apt-cache show --no-all-versions NAME...; all are known but those in UNKNOWN.
stand_in "$tools/apt-cache" <<'STAND_IN'
for name in "${@:3}"; do
  [[ " ${UNKNOWN:-} " == *" $name "* ]] || echo "Package: $name"
done
STAND_IN
stand_in "$tools/apt-get" <<<'exit 100'
# shellcheck disable=SC2016 # expanded by the stand-in
stand_in "$tree/.venv/bin/pip" <<<'if [[ "$1" == install && -n "${PIP_REFUSES:-}" ]]; then echo "WARNING: Retrying" >&2; echo "$PIP_REFUSES" >&2; exit 1; fi'
stand_in "$tree/.venv/bin/python" <<<"echo '$tree/.venv'" # sys.prefix
# shellcheck disable=SC2016 # expanded by the stand-in
stand_in "$tree/.venv/bin/cmake" <<'STAND_IN'
if [[ "$1" == --preset ]]; then
  printf 'CMAKE_HOME_DIRECTORY:INTERNAL=%s\nCMAKE_CXX_COMPILER:FILEPATH=%s\n' "$PWD" "${CXX:-/usr/bin/c++}" >build/CMakeCache.txt
  [[ "${CMAKE_REFUSES:-0}" -eq 0 ]] || exit 1
  : >build/build.ninja
elif [[ "$1" == --build ]]; then
  exit "${BUILD_ENDS:-0}"
fi
STAND_IN
