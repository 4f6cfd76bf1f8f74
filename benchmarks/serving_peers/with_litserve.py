"""LitServe with one worker process, as it has on one device: the body as bytes, the answer of `predict`."""

from typing import Annotated, Any

import litserve
from announce import HOST, PATH, announce_when_it_answers, free_port, read_arguments
from fastapi import Body


class Listen(litserve.LitAPI):
    """Says what it always says. answer: that."""

    answer: dict[str, Any]

    def setup(self, device: str) -> None:
        """No model."""

    def decode_request(self, request: Annotated[bytes, Body()]) -> bytes:
        """The body as it is."""
        return request

    def predict(self, _body: bytes) -> dict[str, Any]:
        """Hears nothing."""
        return self.answer

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """The answer as it is."""
        return output


if __name__ == "__main__":
    api = Listen(api_path=PATH)
    api.answer, port_file = read_arguments()
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    port = free_port()
    announce_when_it_answers(port, port_file)
    server.run(host=HOST, port=port, generate_client_file=False, log_level="warning", access_log=False)
