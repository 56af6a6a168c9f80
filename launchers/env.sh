# Settings that all launchers share; source it: . launchers/env.sh
# A variable that is already set is kept. INTERFACE names the network interface between nodes (ip -brief address).

# Without the interface gloo resolves the host's own name, often to 127.0.0.1, and the ranks never connect.
if [ -n "${INTERFACE:-}" ]; then
    export GLOO_SOCKET_IFNAME="${GLOO_SOCKET_IFNAME:-$INTERFACE}"
    export NCCL_SOCKET_IFNAME="${NCCL_SOCKET_IFNAME:-$INTERFACE}"
fi
# Options of ssh to the nodes, also under pdsh: no password prompt; a node that is gone is detected within a minute.
export PDSH_SSH_ARGS_APPEND="${PDSH_SSH_ARGS_APPEND:--o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=15 -o ServerAliveCountMax=4}"
export NCCL_DEBUG="${NCCL_DEBUG:-WARN}"
# NCCL's flight recorder: when a collective times out, each rank writes what it was doing.
export TORCH_FR_BUFFER_SIZE="${TORCH_FR_BUFFER_SIZE:-20000}"
export TORCH_NCCL_DUMP_ON_TIMEOUT="${TORCH_NCCL_DUMP_ON_TIMEOUT:-1}"
# Where a crash inside C++ happened.
export PYTHONFAULTHANDLER="${PYTHONFAULTHANDLER:-1}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-4}"
export TOKENIZERS_PARALLELISM="${TOKENIZERS_PARALLELISM:-false}"
# Two environments that share the cache of compiled operators rebuild it against each other.
export TORCH_EXTENSIONS_DIR="${TORCH_EXTENSIONS_DIR:-${VIRTUAL_ENV:-$PWD/.venv}/torch_extensions}"

# What pdsh must carry to the other nodes. DeepSpeed reads .deepspeed_env in the working folder (another file:
# DS_ENV_FILE); it knows KEY=VALUE lines only, a blank or a comment line ends it with an error.
write_deepspeed_env() {
    env | grep -E '^(GLOO_|NCCL_|TORCH_|DS_ACCELERATOR=|OMP_NUM_THREADS=|PYTHONFAULTHANDLER=|TOKENIZERS_)' \
        | grep -v '=$' | sort > .deepspeed_env
}
