#!/usr/bin/env bash
# Several machines over ssh: INTERFACE=eth0 launchers/multinode.sh HOSTFILE CONFIG [key=value ...]
# Needed: ssh without a password to every host of the hostfile, the same folder and the same .venv path on all of them,
# shards and run folder on a store that all of them see; pdsh here, or LAUNCHER=ssh. More: docs/launching.md
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
here=$(dirname "$0")
# shellcheck source=launchers/env.sh
. "$here/env.sh"
case "${LAUNCHER:-pdsh}" in
pdsh) command -v pdsh > /dev/null || { echo "error: pdsh is not installed; install it, or set LAUNCHER=ssh" >&2; exit 2; } ;;
ssh) ;;
*) echo "error: LAUNCHER=$LAUNCHER is not known; set pdsh or ssh" >&2; exit 2 ;;
esac
write_deepspeed_env
# Hosts, folders and shares are checked first: what DeepSpeed alone would hang on or train without is one line.
exec python -m sentalign.launch.hosts "$here/train.py" "$@"
