"""What the obvious server does: soundfile.read of whatever comes, in a thread of the framework's; 422 when it says no.

python with_soundfile.py --port_file FILE [--answer FILE]      under RLIMIT_AS of 4 GB, as a container would be
"""

import io
import resource
from typing import Any

import numpy as np
import soundfile
from announce import PATH, read_arguments, run_uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

ADDRESS_SPACE_BYTES = 4_000_000_000

app = FastAPI()


def hear(body: bytes) -> dict[str, Any]:
    """Decode all of it."""
    samples, rate = soundfile.read(io.BytesIO(body), dtype="float32")
    mono = samples if samples.ndim == 1 else samples.mean(axis=1)
    return {"duration": len(mono) / rate, "loudest": float(np.abs(mono).max())}


@app.post(PATH, response_model=None)
async def events(request: Request) -> Any:
    """The answer, or what soundfile has against the body."""
    try:
        return await run_in_threadpool(hear, await request.body())
    except soundfile.LibsndfileError as error:
        return JSONResponse({"detail": str(error)}, status_code=422)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    run_uvicorn(app, read_arguments()[1])
