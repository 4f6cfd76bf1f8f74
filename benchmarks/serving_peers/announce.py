"""What the peers share: their two flags, a free port, and a file that says the port once they answer."""

import argparse
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
PATH = "/v1/events"


def read_arguments() -> tuple[dict[str, Any], Path]:
    """(the answer that is given to everybody, the file for the port)."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port_file", type=Path, required=True)
    parser.add_argument("--answer", type=Path)
    arguments = parser.parse_args()
    answer = json.loads(arguments.answer.read_text(encoding="utf-8")) if arguments.answer else {}
    return answer, arguments.port_file


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])


def announce_when_it_answers(port: int, port_file: Path) -> None:
    """Write the port once HTTP is answered there, and not by a 503; returns at once."""

    def wait() -> None:
        while not _answers(port):
            time.sleep(0.05)
        partial = port_file.with_name(port_file.name + ".partial")
        partial.write_text(str(port), encoding="ascii")
        partial.replace(port_file)

    threading.Thread(target=wait, daemon=True).start()


def run_uvicorn(app: Any, port_file: Path) -> None:
    """An ASGI application by uvicorn, with uvloop, httptools and without a log of requests."""
    import uvicorn

    port = free_port()
    announce_when_it_answers(port, port_file)
    uvicorn.run(app, host=HOST, port=port, log_level="warning", access_log=False)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = connection.recv(100)
    except OSError:
        return False
    return answer.startswith(b"HTTP/1.1 ") and not answer.startswith(b"HTTP/1.1 503")
