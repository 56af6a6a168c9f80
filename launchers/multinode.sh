#!/usr/bin/env bash
# Several machines over ssh: INTERFACE=eth0 launchers/multinode.sh HOSTFILE CONFIG [key=value ...]
# Needed: pdsh here, ssh without a password to every host of the hostfile, the same folder and the same .venv path on
# all of them, shards and run folder on a store that all of them see. For a rehearsal on CPU add DS_ACCELERATOR=cpu.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
here=$(dirname "$0")
# shellcheck source=launchers/env.sh
. "$here/env.sh"
write_deepspeed_env
hostfile=$1
shift
# A node that dies before the ranks have met leaves the others waiting: train.timeout_minutes bounds that.
exec deepspeed --hostfile "$hostfile" "$here/train.py" "$@"
