#!/usr/bin/env bash
# One machine, with the settings of env.sh: launchers/local.sh RANKS CONFIG [key=value ...]
#   launchers/local.sh 8 configs/paper.yaml train.epochs=5       eight GPUs
#   launchers/local.sh 2 configs/phantom-cpu.yaml                two processes on the CPU
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
# shellcheck source=launchers/env.sh
. "$(dirname "$0")/env.sh"
ranks=$1
shift
exec python -m sentalign.cli train "$@" --ranks "$ranks"
