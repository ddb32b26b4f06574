"""The child process that becomes ffmpeg: it gives up memory, processor time and files first, for good.

It is run as a file and imports nothing of ours, so that it starts within a hundredth of a second. Its arguments:
seconds of processor time, the program's path, the program's arguments.
"""

import os
import resource
import sys

MEMORY = 2 * 2**30
FILE_BYTES = 2**20  # what ffprobe says goes to a file; what ffmpeg makes goes through a pipe
DESCRIPTORS = 64


def limit(cpu_seconds: int) -> None:
    """Give it up."""
    for what, most in (
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_NOFILE, DESCRIPTORS),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


if __name__ == "__main__":
    limit(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - our own command, without a shell
