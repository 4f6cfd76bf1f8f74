"""Ray Serve with one replica, which reads the body and returns the answer."""

import os
import threading
from typing import Any

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_raylet_start_wait_time_s": "180"}
import ray
from announce import HOST, PATH, announce_when_it_answers, free_port, read_arguments
from ray import serve
from starlette.requests import Request


@serve.deployment(max_ongoing_requests=1_000)
class Listen:
    """Says what it always says."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer

    async def __call__(self, request: Request) -> dict[str, Any]:
        """Reads the body."""
        await request.body()
        return self.answer


if __name__ == "__main__":
    answer, port_file = read_arguments()
    ray.init(num_cpus=2, object_store_memory=200_000_000, include_dashboard=False, log_to_driver=False)
    port = free_port()
    serve.start(http_options={"host": HOST, "port": port}, logging_config={"enable_access_log": False})
    serve.run(Listen.bind(answer), route_prefix=PATH)
    announce_when_it_answers(port, port_file)
    threading.Event().wait()
