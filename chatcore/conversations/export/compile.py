"""Typst source on standard input, a PDF on standard output. Run as a script, in a process of its own.

What people and models write can be long and odd. Here it can be ended after a time, cannot take the server's memory,
and what the compiler remembers of it is gone afterwards. Status 3: the source was refused.
"""

import sys

import typst

MEMORY = 3 << 30  # bytes of address space, of which fonts and threads are the greater part


def main(folder: str) -> int:
    """`folder`: the only place that the document can read from. It holds the document's images and nothing else."""
    try:
        import resource
    except ImportError:  # Windows has no limits of this kind
        pass
    else:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    source = sys.stdin.buffer.read()
    try:
        pdf = typst.Compiler(source, root=folder, package_path=folder, package_cache_path=folder).compile(format="pdf")
    except typst.TypstError as error:
        sys.stderr.write(f"{error.message}\n")
        return 3
    assert isinstance(pdf, bytes)
    sys.stdout.buffer.write(pdf)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
