#!/usr/bin/env bash
# A Ray cluster of several machines for `sentalign tune`.
#   launchers/ray.sh head [option of ray start ...]                 on the first machine
#   launchers/ray.sh join FIRST:6379 [option of ray start ...]      on each of the others
#   RAY_AUTH_MODE=token RAY_ADDRESS=FIRST:6379 sentalign tune configs/sweep.yaml
#   ray stop                                                        on each, at the end
# All machines need the same token file (RAY_AUTH_TOKEN_PATH, else .ray/auth_token in the home folder; `head` makes it):
# without it anyone who reaches the port could run code. Working folder, .venv and the sweep's `out` must be shared.
# INTERFACE=eth0 names the network interface between the machines, where they have several.
set -euo pipefail
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0

make_token() {
    local file="${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}"
    if [ -z "${RAY_AUTH_TOKEN:-}" ] && [ ! -s "$file" ]; then
        (umask 077 && mkdir -p "$(dirname "$file")" && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' > "$file")
    fi
}

node_ip() {
    [ -n "${INTERFACE:-}" ] || return 0
    local address
    address="$(ip -o -4 addr show dev "$INTERFACE" | awk '{sub("/.*", "", $4); print $4; exit}')"
    [ -n "$address" ] || { echo "error: interface $INTERFACE has no IPv4 address (ip -brief address)" >&2; exit 2; }
    echo "--node-ip-address=$address"
}

# For trainings over several machines, which Ray starts with the environment of `ray start`.
if [ -n "${INTERFACE:-}" ]; then
    export GLOO_SOCKET_IFNAME="${GLOO_SOCKET_IFNAME:-$INTERFACE}" NCCL_SOCKET_IFNAME="${NCCL_SOCKET_IFNAME:-$INTERFACE}"
fi

case "${1:-}" in
head)
    shift
    make_token
    address="$(node_ip)"
    exec ray start --head --port 6379 --include-dashboard=false ${address:+"$address"} "$@"
    ;;
join)
    first="${2:?give the address of the first machine, for example node-a:6379}"
    shift 2
    address="$(node_ip)"
    exec ray start --address "$first" ${address:+"$address"} "$@"
    ;;
*)
    sed -n '2,9s/^# //p' "$0" >&2
    exit 2
    ;;
esac
