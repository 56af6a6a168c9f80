#!/usr/bin/env bash
# One machine: launchers/local.sh RANKS CONFIG [key=value ...]
#   launchers/local.sh 8 configs/paper.yaml train.epochs=5       eight GPUs
#   launchers/local.sh 2 configs/phantom-cpu.yaml                two processes on the CPU
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
here=$(dirname "$0")
# shellcheck source=launchers/env.sh
. "$here/env.sh"
ranks=$1
shift
# A port of its own, so that two runs on one machine do not meet at the default one.
port=$(python -c 'from sentalign.launch.ranks import free_port; print(free_port())')
# Between signals and DeepSpeed's launcher: told to stop, the ranks save and leave.
exec python -m sentalign.launch.supervisor deepspeed --num_gpus "$ranks" --master_port "$port" "$here/train.py" "$@"
