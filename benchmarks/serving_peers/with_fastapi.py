"""The bare route: FastAPI reads the body and returns the answer."""

from typing import Any

from announce import PATH, read_arguments, run_uvicorn
from fastapi import FastAPI, Request

app = FastAPI()
answer, port_file = read_arguments()


@app.post(PATH)
async def events(request: Request) -> dict[str, Any]:
    """Reads the body, and says what it always says."""
    await request.body()
    return answer


if __name__ == "__main__":
    run_uvicorn(app, port_file)
