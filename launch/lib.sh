# What the programs of this folder share: sourced by them, not run.
# shellcheck shell=bash
set -euo pipefail

repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# shellcheck disable=SC2034 # used by those that source this file
venv="$repository/.venv" build="$repository/build"
# The program: SPANKEY, that of the build, in a bundle (launch/bundle) the one that brings its libraries, or where it was
# installed (PREFIX/share/spankey/launch) the one in PREFIX/bin.
program="$build/bin/spankey"
if [[ -f "$repository/torch_version" ]]; then
  program="$repository/spankey" PATH="$repository:$PATH"
elif [[ ! -e "$repository/CMakeLists.txt" && -x "$repository/../../bin/spankey" ]]; then
  program="$(cd "$repository/../../bin" && pwd)/spankey"
fi
program="${SPANKEY:-$program}"

say() { printf '%s\n' "$*"; }

# One line and exit code 2: something the caller has to change.
fail() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 2
}

# Prints the comment at the head of the calling program.
usage() { awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"; }

# Compile jobs: one a core, as long as each has 2 GB of memory (a file that includes LibTorch needs 1.5).
compile_jobs() {
  local cores memory
  cores="$(nproc)"
  memory="$(awk '/^MemAvailable/ { print int($2 / 2000000) }' /proc/meminfo)"
  ((memory >= 1)) || memory=1
  printf '%s\n' "${CMAKE_BUILD_PARALLEL_LEVEL:-$((cores < memory ? cores : memory))}"
}

# flavour_of TEXT: "hydra" for what an MPICH or Intel MPI says of itself, else "open_mpi". Their mpirun differ in options and in
# what they make of USR2.
flavour_of() {
  if [[ "$1" =~ HYDRA|Hydra|"Intel(R) MPI"|MPICH ]]; then printf 'hydra\n'; else printf 'open_mpi\n'; fi
}
mpi_flavour() { flavour_of "$(mpirun --version 2>&1 || true)"; }

# More ranks than cores, none of them pinned, and ranks of root: variables of Open MPI 4, of Open MPI 5 and of Intel MPI,
# which disturb no other MPI. See CONTRIBUTING.md, traps.
mpi_environment() {
  export OMPI_MCA_rmaps_base_oversubscribe="${OMPI_MCA_rmaps_base_oversubscribe:-1}"
  export PRTE_MCA_rmaps_default_mapping_policy="${PRTE_MCA_rmaps_default_mapping_policy:-:oversubscribe}"
  export I_MPI_PIN="${I_MPI_PIN:-0}"
  if [[ "$(id -u)" -eq 0 ]]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  fi
}

# takes_stop_request PID: who has to hear USR2 for the ranks below the mpirun PID. Hydra's own mpirun would end at once: there
# it is one of the ranks, which tells the others.
takes_stop_request() {
  local process="$1" child
  if [[ "$(mpi_flavour)" == hydra ]]; then
    while child="$(pgrep -P "$process" | head -n 1)" && [[ -n "$child" ]]; do
      process="$child"
      case "$(<"/proc/$process/comm")" in
        hydra_* | mpirun* | mpiexec*) ;;
        *) break ;;
      esac
    done
  fi
  printf '%s\n' "$process"
}

# run_ranks N PROGRAM ARGUMENT...: N ranks on this machine; returns the program's exit code.
# INT, TERM and HUP (unless it was ignored at the start, as nohup does) ask the ranks for a checkpoint (USR2, exit code
# 75), because mpirun itself would kill them within seconds; a second one ends them. USR1 and USR2 mean the same.
run_ranks() {
  local ranks="$1" pid code=127 next interrupted=0 asked=0
  shift
  local options=(-np "$ranks")
  if [[ "$(mpi_flavour)" == open_mpi ]]; then options+=(--bind-to none); fi
  mpi_environment
  set -m # a process group of its own, so that Ctrl-C reaches this script alone
  mpirun "${options[@]}" "$@" </dev/null &
  pid=$!
  set +m
  # shellcheck disable=SC2317,SC2329 # called by the traps
  pass_on() {
    interrupted=1
    if ((asked)); then
      kill -TERM "$pid" 2>/dev/null || true
    else
      asked=1
      say "stopping at the next step with a checkpoint (again: at once)" >&2 || true # the terminal may be gone
      kill -USR2 "$(takes_stop_request "$pid")" 2>/dev/null || true
    fi
  }
  trap pass_on INT TERM HUP USR1 USR2
  while true; do
    interrupted=0
    next=0
    wait "$pid" || next=$?
    if ((next != 127)); then code=$next; fi # 127: it was gone already, the code before holds
    if ((!interrupted)); then break; fi
  done
  trap - INT TERM HUP USR1 USR2
  return "$code"
}
