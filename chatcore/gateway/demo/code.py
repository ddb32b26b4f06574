"""Snippets the demo models show: each runs as it stands."""

from typing import Final

LANGUAGES: Final[dict[str, tuple[str, ...]]] = {
    "python": ("python", "py", "pandas", "pytest"),
    "typescript": ("typescript", "ts"),
    "javascript": ("javascript", "js", "node"),
    "sql": ("sql", "query", "sqlite", "postgres", "postgresql"),
    "bash": ("bash", "shell", "sh", "zsh"),
    "go": ("golang", "go"),
    "rust": ("rust",),
}

NAMES: Final = {
    "python": "Python",
    "typescript": "TypeScript",
    "javascript": "JavaScript",
    "sql": "SQL",
    "bash": "Bash",
    "go": "Go",
    "rust": "Rust",
}

TASKS: Final[dict[str, tuple[str, str]]] = {
    "binary search": (r"binary search|search a sorted", "finds a value in a sorted list in about log2(n) steps"),
    "fibonacci": (r"fibonacci", "adds the last two numbers again and again, without recursion"),
    "primes": (r"primes?|sieve", "crosses out the multiples of each prime"),
    "word count": (r"word count|count\w* (?:the )?words|frequen\w+", "counts how often each word occurs"),
    "retry": (r"retry|retries|backoff", "tries again with growing, jittered pauses"),
    "top rows": (r"top \w+|group by|per (?:month|day|user|customer)|total", "sums by group and keeps the largest"),
}

SNIPPETS: Final[dict[tuple[str, str], str]] = {
    ("python", "binary search"): '''from bisect import bisect_left


def find(values: list[int], wanted: int) -> int | None:
    """The index of `wanted` in the sorted `values`, None where it is missing."""
    index = bisect_left(values, wanted)
    return index if index < len(values) and values[index] == wanted else None


print(find([2, 3, 5, 7, 11], 7))  # 3
''',
    ("python", "fibonacci"): """from collections.abc import Iterator
from itertools import islice


def fibonacci() -> Iterator[int]:
    a, b = 0, 1
    while True:
        yield a
        a, b = b, a + b


print(list(islice(fibonacci(), 10)))  # [0, 1, 1, 2, 3, 5, 8, 13, 21, 34]
""",
    ("python", "primes"): '''def primes_below(limit: int) -> list[int]:
    """All primes below `limit`, by the sieve of Eratosthenes."""
    is_prime = bytearray([1]) * limit
    is_prime[:2] = bytes(min(2, limit))
    for n in range(2, int(limit**0.5) + 1):
        if is_prime[n]:
            is_prime[n * n :: n] = bytes(len(range(n * n, limit, n)))
    return [n for n in range(limit) if is_prime[n]]


print(primes_below(30))  # [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]
''',
    ("python", "word count"): """import re
from collections import Counter


def most_common_words(text: str, count: int = 3) -> list[tuple[str, int]]:
    return Counter(re.findall(r"\\w+", text.lower())).most_common(count)


print(most_common_words("the cat and the hat and the bat"))  # [('the', 3), ('and', 2), ('cat', 1)]
""",
    ("python", "retry"): '''import random
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def retry(action: Callable[[], T], attempts: int = 5, first_pause: float = 0.1) -> T:
    """Run `action`, again after each OSError, with pauses that double and jitter."""
    for attempt in range(attempts):
        try:
            return action()
        except OSError:
            if attempt == attempts - 1:
                raise
            time.sleep(first_pause * 2**attempt * random.uniform(0.5, 1.5))
    raise ValueError("attempts must be at least 1")


print(retry(lambda: "done"))  # done
''',
    ("javascript", "binary search"): """function find(values, wanted) {
  let low = 0;
  let high = values.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (values[middle] === wanted) return middle;
    if (values[middle] < wanted) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}

console.log(find([2, 3, 5, 7, 11], 7)); // 3
""",
    ("javascript", "fibonacci"): """function* fibonacci() {
  let [a, b] = [0n, 1n];
  while (true) {
    yield a;
    [a, b] = [b, a + b];
  }
}

const numbers = fibonacci();
console.log(Array.from({ length: 10 }, () => Number(numbers.next().value)).join(" ")); // 0 1 1 2 3 5 8 13 21 34
""",
    ("javascript", "retry"): """async function retry(action, attempts = 5, firstPause = 100) {
  for (let attempt = 0; ; attempt++) {
    try {
      return await action();
    } catch (error) {
      if (attempt >= attempts - 1) throw error;
      const pause = firstPause * 2 ** attempt * (0.5 + Math.random());
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}

retry(async () => "done").then((result) => console.log(result)); // done
""",
    ("typescript", "word count"): """function countWords(text: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const word of text.toLowerCase().match(/\\p{L}+/gu) ?? []) {
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return counts;
}

console.log(countWords("the cat and the hat").get("the")); // 2
""",
    ("sql", "top rows"): """SELECT customer, SUM(amount) AS total, COUNT(*) AS orders
FROM orders
GROUP BY customer
HAVING SUM(amount) > 0
ORDER BY total DESC, customer
LIMIT 3;
""",
    ("sql", "fibonacci"): """WITH RECURSIVE fibonacci(n, a, b) AS (
    SELECT 1, 0, 1
    UNION ALL
    SELECT n + 1, b, a + b FROM fibonacci WHERE n < 10
)
SELECT n, a AS value FROM fibonacci ORDER BY n;
""",
    ("bash", "word count"): """#!/usr/bin/env bash
set -euo pipefail

# The three most frequent words on standard input.
tr -cs '[:alpha:]' '\\n' | tr '[:upper:]' '[:lower:]' | grep . | sort | uniq -c | sort -k1,1nr -k2 | head -n 3
""",
    ("bash", "retry"): """#!/usr/bin/env bash
set -euo pipefail

# retry 5 curl -fsS https://example.com
retry() {
  local attempts=$1 pause=1 attempt
  shift
  for ((attempt = 1; attempt <= attempts; attempt++)); do
    "$@" && return 0
    ((attempt < attempts)) && sleep "$pause"
    pause=$((pause * 2))
  done
  return 1
}

retry 3 echo done
""",
    ("go", "primes"): """package main

import "fmt"

// primesBelow returns all primes below limit, by the sieve of Eratosthenes.
func primesBelow(limit int) []int {
	crossed := make([]bool, max(limit, 0))
	var primes []int
	for n := 2; n < limit; n++ {
		if crossed[n] {
			continue
		}
		primes = append(primes, n)
		for multiple := n * n; multiple < limit; multiple += n {
			crossed[multiple] = true
		}
	}
	return primes
}

func main() {
	fmt.Println(primesBelow(30)) // [2 3 5 7 11 13 17 19 23 29]
}
""",
    ("rust", "binary search"): """use std::cmp::Ordering;

fn find(values: &[i32], wanted: i32) -> Option<usize> {
    let (mut low, mut high) = (0, values.len());
    while low < high {
        let middle = low + (high - low) / 2;
        match values[middle].cmp(&wanted) {
            Ordering::Equal => return Some(middle),
            Ordering::Less => low = middle + 1,
            Ordering::Greater => high = middle,
        }
    }
    None
}

fn main() {
    println!("{:?}", find(&[2, 3, 5, 7, 11], 7)); // Some(3)
}
""",
}
