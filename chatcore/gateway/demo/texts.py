"""The demo models' prepared words: help, phrases, and notes on a few subjects they are often asked about."""

from typing import Final

HONEST: Final = (
    "I'm a **demo model**: a small program inside Chatcore that composes replies from rules. There is no language "
    "model, no network and no key behind me."
)

HELP: Final = f"""{HONEST} I'm here so that you can try everything else. This is what I can do:

| Say | and you get |
| --- | --- |
| `12*37`, `15% of 80`, `solve x^2-5x+6=0` | real arithmetic, shown in LaTeX |
| *show me binary search in Rust* | a correct snippet; Python, JavaScript, TypeScript, SQL, Bash, Go, Rust |
| *review this:* and some Python | a few real checks of the code |
| *shorten this:* or *summarise:* and a text | a real edit, real counts |
| *compare A and B*, *table of squares* | tables |
| *show me a bar chart of sales*, *show me a timeline* | charts and components, drawn on the page |
| *plan …*, *draft an email about …*, *story*, *haiku* | plans, drafts and small texts |
| *write 5000 words about …*, `long 800` | exactly that many words |
| *my name is Sam*, then *what is my name?* | I remember what stands in this conversation |
| `use a tool` | a tool call |

And what goes wrong with real providers, on request:

| Say | and this happens |
| --- | --- |
| `fail` | an error 500 before the first word; also `fail 401`, `fail 429`, `fail 503` |
| `fail midway` | an error 500 in the middle of the reply |
| `slow`, `slow 20` | the first word comes after 8 seconds, or 20 |
| `cut` | the reply breaks off without a finish; *continue* goes on from there |
| `stall` | the reply goes silent in the middle, until the time limit ends it |

Three models: **Demo Assistant**, **Demo Quick** (short and fast) and **Demo Thinker** (reasons first). The agent you \
choose changes how I answer. My prices are invented, so that the usage page has something to show. For real answers, \
put a provider's key into the environment or the config file; the README says how.
"""

OPENINGS: Final = {
    "formal": ("Good day{name}.", "Thank you for your question{name}.", "Certainly{name}."),
    "friendly": ("Hey{name}! Glad you asked.", "Great to hear from you{name}!", "Happy to help{name}!"),
    "pirate": ("Arr{name}!", "Ahoy{name}!", "Shiver me timbers{name}!"),
    "teacher": ("Let's take this step by step{name}.", "A good one to learn from{name}."),
}
CLOSINGS: Final = {
    "formal": ("Please do not hesitate to ask further questions.", "I remain at your disposal."),
    "friendly": ("Want to dig into any part of it?", "Shout if you'd like more!"),
    "pirate": ("Now back to the helm with ye!", "Fair winds, matey!"),
    "teacher": (
        "Before you read on: how would *you* put this in one sentence?",
        "Try it on a small example first. What do you expect to happen?",
    ),
    "engineer": ("Smallest next step: write the failing test first.", "Check it with one test before it is merged."),
    "writer": ("Read it aloud once: the ear finds what the eye forgives.",),
    "analyst": ("Before trusting any of it: which number would change your mind?",),
}
GREETING_IN: Final = {
    "de": "Gern! (Mehr Deutsch als diesen Satz kann ein Demo-Modell nicht.)",
    "fr": "Volontiers ! (Un modèle de démonstration n'en sait guère plus en français.)",
    "es": "¡Con gusto! (Un modelo de demostración no sabe mucho más español.)",
    "it": "Volentieri! (Un modello dimostrativo non sa molto altro in italiano.)",
}

CANNOT_KNOW: Final = (
    "That I can't know: I'm a demo model without facts, news or a clock, and I'd rather say so than make something up.",
    "I have to pass on the facts here: a demo model knows nothing about the world, and guessing would not help you.",
    "A real model could answer that. I'm a demo without any knowledge of the world, so I won't pretend.",
)

# (words of which all must occur, a heading, the note): true, short, and said to be prepared.
NOTES: Final[tuple[tuple[tuple[str, ...], str], ...]] = (
    (
        ("eventual", "consistency"),
        """**Eventual consistency** means: copies of the same data may differ for a while, and if nobody writes any \
more, they all end up equal.

**In daily life:** you change your phone number and tell your friends one by one. For some days, some still ring the \
old number. Nobody is wrong for ever, and nobody had to wait for all the others.

1. **What you gain:** each copy answers at once, also when the others cannot be reached.
2. **What you pay:** a reader may see an old value, and two writers may need a rule for who wins.
3. **Where it fits:** likes, feeds, search indexes. **Where it does not:** the balance before a withdrawal.""",
    ),
    (
        ("sqlite", "postgre"),
        """| | SQLite | PostgreSQL |
| --- | --- | --- |
| Runs as | a library and one file | a server process |
| Set-up | none | install, users, backups |
| Writers at a time | one (readers go on in WAL mode) | many |
| Several app servers | no, one machine | yes |
| Backup | copy with `VACUUM INTO` or the backup API | `pg_dump`, continuous archiving |
| Good for | one server, short writing transactions | growth, several replicas, heavy analysis |

**For a small team's app:** start with SQLite in WAL mode while one server is enough; move when you need a second \
server or long writing transactions begin to queue.""",
    ),
    (
        ("database is locked",),
        """`database is locked` means: SQLite allows **one writer at a time**, and yours did not get its turn before \
the time limit.

1. Set a wait: `PRAGMA busy_timeout = 5000;`
2. Let readers and the writer work side by side: `PRAGMA journal_mode = WAL;`
3. Begin writing transactions with `BEGIN IMMEDIATE`. One that reads first and writes later fails at once if another \
wrote in between, whatever the time limit.
4. Keep transactions short: no network call and no waiting for a person inside one.

```python
import sqlite3

db = sqlite3.connect("app.db", timeout=5.0, isolation_level=None)
db.execute("PRAGMA journal_mode = WAL")
db.execute("BEGIN IMMEDIATE")
try:
    db.execute("UPDATE counters SET value = value + 1 WHERE name = ?", ("visits",))
    db.execute("COMMIT")
except BaseException:
    db.execute("ROLLBACK")
    raise
```""",
    ),
    (
        ("pytest", "bill"),
        """Here is a function with its tests. They check what must always hold: nothing is lost, and nobody pays more \
than a cent above another.

```python
import pytest


def split_bill(cents: int, people: int) -> list[int]:
    if people < 1 or cents < 0:
        raise ValueError("a bill of at least 0 cents, split between at least one person")
    share, rest = divmod(cents, people)
    return [share + 1] * rest + [share] * (people - rest)


@pytest.mark.parametrize(("cents", "people"), [(1000, 3), (0, 2), (1, 4), (999, 1)])
def test_nothing_is_lost_and_shares_are_even(cents: int, people: int) -> None:
    shares = split_bill(cents, people)
    assert sum(shares) == cents
    assert len(shares) == people
    assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize(("cents", "people"), [(100, 0), (-1, 2)])
def test_an_impossible_split_is_refused(cents: int, people: int) -> None:
    with pytest.raises(ValueError):
        split_bill(cents, people)
```""",
    ),
    (
        ("plainer word",),
        """| Instead of | say |
| --- | --- |
| utilise | use |
| facilitate | help, make easier |
| leverage | use, build on |
| commence | start |
| in order to | to |
| prior to | before |""",
    ),
)

HAIKUS: Final = (
    "Rules shuffle their words.\n{topic}, a quiet pond;\nno one thinks in here.",
    "Asked of {topic},\na small program bows and types\nwhat it cannot feel.",
)
STORY: Final = (
    "On the ninth floor, where the lifts give up, someone had left a note about {topic}.",
    "Mira read it twice. It was not addressed to her, which made it harder to put down.",
    '"It only works," it said, "if the one who reads it asks one honest question."',
    "She thought of three clever ones and threw them away. Then she asked the plain one.",
    "Nothing happened for a moment. Then, somewhere below, a door that had stuck for years opened by itself.",
    "The next morning the note was gone, and {topic} was simply how things were done on that floor.",
)
JOKES: Final = (
    "A demo model walks into a bar. The barkeeper asks: “What'll it be?” It answers: “What will it be? Interesting! "
    "There are three ways to look at that.”",
    "Why did the token cross the stream? To get to the other chunk.",
    "There are two hard things: naming, cache invalidation, and off-by-one errors.",
)

SENTENCES: Final = (
    "The first thing to notice about {topic} is how much of it depends on where one stands.",
    "Small teams meet it early, large ones meet it often.",
    "It helps to write down what is known, what is assumed, and what would change the plan.",
    "A number without its date is an anecdote.",
    "Most of the cost hides in the steps between the steps.",
    "Nobody regrets having measured before the change.",
    "What looks like one question about {topic} is usually three, asked at once.",
    "The simplest version that could work deserves the first try.",
    "Where two rules disagree, the one that is closer to the person wins.",
    "A good default saves more time than a good manual.",
    "It is worth asking who will look after {topic} in a year.",
    "Doubt is cheap at the start and expensive at the end.",
    "An example settles in a minute what a definition argues about for an hour.",
    "The exception is often the better teacher.",
    "Whatever is decided, someone should be able to see why.",
    "Habits carry further than plans, and plans further than wishes.",
    "If {topic} seems finished, look at its edges.",
    "There is a point at which more detail stops helping; it comes earlier than expected.",
    "Trust grows when the dull parts are done well.",
    "One careful reader is worth ten quick ones.",
)
HEADINGS: Final = (
    "Where it begins", "What is at stake", "A closer look", "The dull parts", "An example", "What others forget",
    "The price of waiting", "Second thoughts", "A word on habits", "Looking ahead",
)  # fmt: skip
