"""The verb `desed-task serve --bundle DIR`, the same as `python -m serving --bundle DIR`.

The server prints one line, `ready on http://HOST:PORT`, once every model is warm. SIGTERM and SIGINT let the requests
in progress end, then the process exits with 0; SIGHUP reads the keys and the models again. Refused input is one
sentence and exit code 2. Where settings are from, and which goes over which: serving/settings_sources.py.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from desed_task.command_line import RecipeParser
from desed_task.errors import DesedTaskError
from serving.http.app import create_app
from serving.http.connections import ServiceConfig
from serving.http.life_cycle import ServiceServer
from serving.http.request_log import log_in_json
from serving.inference.engine import Engine
from serving.settings import ServingOptions
from serving.settings_sources import PORT_FILE, PREFIX, path_of, read_settings


def serve(argv: Sequence[str]) -> int:
    """Serve a bundle until a signal comes; the exit code."""
    parser = RecipeParser(prog="desed-task serve", description="Serve a bundle over HTTP: POST /v1/events.")
    parser.add_argument(
        "--bundle",
        help="folder of the bundle; every setting may be given by a variable too: "
        f"{PREFIX}BUNDLE, {PREFIX}MAX_BATCH, ...",
    )
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for a free one (8000)")
    parser.add_argument("--device", help="auto, cpu or cuda:N (auto)")
    parser.add_argument("--conf_file", type=Path, help="conf with further settings")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="replace one setting")
    parser.add_argument("--port_file", type=Path, help="file that receives the port when the server is ready")
    arguments = parser.parse_args(argv)
    flags = {name: getattr(arguments, name) for name in ("bundle", "host", "port", "device")}
    settings = read_settings(ServingOptions, arguments.conf_file, flags, arguments.set, os.environ)
    port_file = arguments.port_file or path_of(os.environ, PORT_FILE)
    _prepare_port_file(port_file)
    with _listen(settings.host, settings.port) as listener:
        _run_server(settings, listener, port_file)
    return 0


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket; DesedTaskError when the address cannot be had."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise DesedTaskError(f"cannot listen on {host} port {port} ({error.strerror}); choose another --port") from None
    return listener


def _run_server(settings: ServingOptions, listener: socket.socket, port_file: Path | None) -> None:
    app = create_app(settings)
    log_in_json()
    # Log lines are the application's own, and what is behind a proxy is nobody's business here.
    config = ServiceConfig(
        app,
        head_seconds=settings.head_seconds,
        timeout_keep_alive=settings.keep_alive_seconds,
        backlog=settings.backlog,
        interface="asgi3",
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )
    server = ServiceServer(config, app, settings.drain_grace_seconds, settings.drain_seconds)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve_until_stopped(server, app.state.engine, listener, port_file))


async def _serve_until_stopped(
    server: ServiceServer, engine: Engine, listener: socket.socket, port_file: Path | None
) -> None:
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    host, port = listener.getsockname()[:2]
    loaded = asyncio.wrap_future(engine.loaded)
    await asyncio.wait({serving, loaded}, return_when=asyncio.FIRST_COMPLETED)
    error = loaded.exception() if loaded.done() else None
    if error is not None:
        server.fail()
    elif loaded.done():
        _announce(host, port, port_file)
    await serving
    if error is not None:
        raise error


def _prepare_port_file(port_file: Path | None) -> None:
    """No port file before the server is ready, not even that of an earlier one."""
    if port_file is None:
        return
    if not port_file.parent.is_dir():
        raise DesedTaskError(f"--port-file {port_file}: the folder {port_file.parent} does not exist; make it first")
    port_file.unlink(missing_ok=True)


def _announce(host: str, port: int, port_file: Path | None) -> None:
    if port_file is not None:
        partial = port_file.with_name(f"{port_file.name}.partial")
        partial.write_text(f"{port}\n", encoding="utf-8")
        partial.replace(port_file)
    print(f"ready on http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
