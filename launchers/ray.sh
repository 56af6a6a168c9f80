#!/usr/bin/env bash
# A Ray cluster of several machines for `sentalign tune`; one trial runs on one machine.
#   launchers/ray.sh head                    on the first machine
#   launchers/ray.sh join FIRST:6379         on each of the others
#   RAY_AUTH_MODE=token RAY_ADDRESS=FIRST:6379 sentalign tune configs/sweep.yaml
#   ray stop                                 on each, at the end
# All machines need the same token file (RAY_AUTH_TOKEN_PATH, else .ray/auth_token in the home folder; `head` makes it):
# without it anyone who reaches the port could run code. Working folder, .venv and the sweep's `out` must be shared.
set -euo pipefail
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
case "${1:-}" in
head)
    ray get-auth-token --generate > /dev/null
    exec ray start --head --port 6379 --include-dashboard=false
    ;;
join)
    exec ray start --address "${2:?give the address of the first machine, for example node-a:6379}"
    ;;
*)
    sed -n '2,8s/^# //p' "$0" >&2
    exit 2
    ;;
esac
