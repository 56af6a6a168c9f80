"""`sentalign serve`: the page, for one person on this machine or, with a token, for others.

In: a run, an address. Out: an HTTP server until Ctrl-C. The other modules do the work and are imported when it runs.
"""

from __future__ import annotations

import argparse
import ipaddress
import socket
import warnings
from importlib.util import find_spec
from pathlib import Path

from sentalign.localize.arguments import add_model_arguments, pick_device
from sharding.command_line import Subcommands, add_command
from sharding.contract import UserError

EXAMPLES = """\
  sentalign serve --run runs/paper
  sentalign serve --run runs/paper --port 9000 --device cuda:1
  sentalign serve --run runs/paper --host 0.0.0.0 --token-file token.txt      (others need the token)

Pictures stay in memory, are forgotten after 15 minutes without use, and are never written to disk."""
SHORTEST_TOKEN = 16


def add_parser(commands: Subcommands) -> None:
    """Adds `serve` to the command line."""
    parser = add_command(
        commands,
        "serve",
        serve,
        "show maps in a web page",
        description="Serves a web page: drop an X-ray, type a sentence, see where it is true.",
        examples=EXAMPLES,
    )
    add_model_arguments(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1, this machine)")
    parser.add_argument("--port", type=int, default=8765, help="port to listen at; 0: any free one (default: 8765)")
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="file with the token that requests must bear (16 letters or more)",
    )
    parser.add_argument("--max-upload-mb", type=float, default=256, help="largest file that is taken (default: 256)")


def serve(args: argparse.Namespace) -> None:
    """Runs the command. Raises UserError for an address that cannot be used, or one for others without a token."""
    missing = [package for package in ("fastapi", "uvicorn", "highdicom") if find_spec(package) is None]
    if missing:
        raise UserError(f"serve needs the package {missing[0]}; pip install 'sentalign[serve]'")
    if not 0 <= args.port < 2**16:
        raise UserError("--port must be 0 to 65535")
    if not 0.001 <= args.max_upload_mb <= 2**20:
        raise UserError("--max-upload-mb must be more than 0 and at most 1048576")
    token = _token(args.token_file)
    if token is None and not _is_loopback(args.host):
        raise UserError(
            f"--host {args.host} lets others in; give --token-file FILE, or keep 127.0.0.1 and use a tunnel (ssh -L)"
        )
    # Threads share the filters that each of them sets and restores, and texts of warnings quote patients' names.
    warnings.simplefilter("ignore")
    with _listening(args.host, args.port) as listener:
        from sentalign.localize.predict import Predictor
        from sentalign.serve import access, app

        predictor = Predictor.load(args.run, pick_device(args.device), args.map)
        made = app.create(predictor, access.Access(args.host, token), round(args.max_upload_mb * 1e6))
        host = f"[{args.host}]" if ":" in args.host else args.host
        print(f"serving {args.run} at http://{host}:{listener.getsockname()[1]}/ (Ctrl-C ends it)", flush=True)
        app.run(made, listener)


def _token(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise UserError("--token-file cannot be read; give a file with one line of letters and digits") from None
    if len(token) < SHORTEST_TOKEN or not token.isprintable() or " " in token:
        raise UserError(f"--token-file: a token is one line of {SHORTEST_TOKEN} letters or more; openssl rand -hex 24")
    return token


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()  # from here on connections wait for the model to be loaded
    except OSError as error:
        raise UserError(
            f"cannot listen at {host}, port {port} ({error.strerror}); give another --host or --port"
        ) from None
    return listener
