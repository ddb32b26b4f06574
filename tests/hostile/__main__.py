"""`python -m tests.hostile`: the hostile provider as a process of its own."""

import argparse
import asyncio
import json
import signal
from dataclasses import asdict
from pathlib import Path
from typing import IO

from tests.hostile.behaviours import BEHAVIOURS
from tests.hostile.server import Call, Log, serve


async def main(port: int, file: IO[str] | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    def changed(call: Call) -> None:
        if file and call.ended is not None:
            file.write(json.dumps(asdict(call)) + "\n")
            file.flush()

    await serve(Log(changed), port, lambda port: print(f"http://127.0.0.1:{port}/v1", flush=True), stop)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m tests.hostile",
        description="An OpenAI-compatible provider on loopback that misbehaves as the model's name says. "
        "Prints its base URL. GET /log: the calls so far; DELETE /log: forget them.",
        epilog=f"Behaviours: any HTTP status from 400 to 599, and {', '.join(BEHAVIOURS)}. "
        "Options after semicolons, as in 'ok;n=300;rate=20': see tests/hostile/behaviours.py.",
    )
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--log", type=Path, help="append each ended call to this file, as JSON lines")
    arguments = parser.parse_args()
    with arguments.log.open("a") if arguments.log else open("/dev/null", "w") as log_file:
        asyncio.run(main(arguments.port, log_file if arguments.log else None))
