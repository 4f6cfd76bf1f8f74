"""The engine: bodies of requests in, detections out, by threads and processes. It knows nothing of HTTP."""
