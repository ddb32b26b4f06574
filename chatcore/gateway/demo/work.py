"""Replies that do something: count, calculate, edit, review, lay out a table, a plan or a draft.

Each public function answers one kind of question, and returns None where the question is of another kind.
"""

import re

from chatcore.gateway.demo import maths as sums
from chatcore.gateway.demo import skills
from chatcore.gateway.demo.code import LANGUAGES, NAMES, SNIPPETS, TASKS
from chatcore.gateway.demo.reader import Reading, about, key_words, pick, says, topic_of
from chatcore.gateway.demo.texts import HAIKUS, JOKES, NOTES, STORY

MOST_WORDS = 20_000


def _payload(reading: Reading, verbs: str) -> str | None:
    """The text after `<verb> …:`, or on the lines below it."""
    found = says(reading, rf"\b(?:{verbs})\b[^:\n]{{0,60}}(?::|\n)\s*(\S.*)\Z") or re.search(
        rf"\b(?:{verbs})\b[^:\n]{{0,60}}(?::|\n)\s*(\S.*)\Z", reading.question, re.I | re.S
    )
    return found.group(1).strip() if found else None


def long_text(reading: Reading) -> str | None:
    found = says(reading, r"\b([\d][\d,. ]{0,7})[ -]?words?\b") or re.fullmatch(
        r"\s*(?:please\s+)?long\s*(\d[\d,]*)?\s*[.!]?\s*", reading.question, re.I
    )
    if not found or says(reading, r"\b(?:summari[sz]e|shorten|under|at most|fewer|less than)\b"):
        return None
    asked = int(re.sub(r"\D", "", found.group(1) or "") or 1000)
    if asked < 30:
        return None
    words = min(asked, MOST_WORDS)
    topic = re.sub(r"\b\d[\d,.]*\s*words?\b|\blong\b|\d+", "", topic_of(reading.question)).strip() or "the long reply"
    note = f" I stop at {MOST_WORDS:,}." if words < asked else ""
    head = (
        f"# {topic[:1].upper()}{topic[1:]}\n\n*{words:,} words from a demo model: grammar without knowledge.{note}*\n\n"
    )
    return head + skills.essay(topic, words, reading.seed)


def review(reading: Reading) -> str | None:
    source = _payload(reading, "review|check|improve|wrong with|bugs? in")
    if not source:
        return None
    source = re.sub(r"\A```\w*\n|\n?```\s*\Z", "", source)
    findings = skills.review_python(source)
    if findings is None:
        return None
    if not findings:
        return "My few checks found nothing. That proves little: they know a handful of common faults and no more."
    return (
        "I ran my few checks over it:\n\n"
        + "\n".join(f"- {finding}" for finding in findings)
        + (f"\n\n```python\n{source}\n```\n\nRules, not judgement: a person would also ask what the code is for.")
    )


def edited(reading: Reading) -> str | None:
    text = _payload(reading, "shorter|shorten|rewrite|edit|clearer|improve|polish|proofread")
    if not text:
        return None
    new, gone = skills.edit(text)
    before, after = len(text.split()), len(new.split())
    notes = "\n".join(f"- “{phrase}” went or became plainer" for phrase in gone[:3])
    if not gone:
        return (
            f"> {new}\n\nI know a short list of wordy phrases and found none of them here; it stays at {before} words."
        )
    return f"> {new}\n\n{notes}\n\n{before} words before, {after} after."


def summary(reading: Reading) -> str | None:
    text = _payload(reading, r"summari[sz]e|summary|tl;?dr|key points")
    if not text or len(text.split()) < 8:
        return None
    parts = skills.sentences(text)
    points = "\n".join(f"- {sentence}" for sentence in skills.summarise(text))
    words = ", ".join(f"*{word}*" for word in key_words(text))
    return (
        f"The sentences that carry most of it, as they stand:\n\n{points}\n\n"
        f"Counted: {len(text.split())} words, {len(parts)} sentences. It speaks most of {words}."
    )


def note(reading: Reading) -> str | None:
    asked = reading.question.lower()
    found = next((text for needed, text in NOTES if all(word in asked for word in needed)), None)
    return f"{found}\n\n*A note that was prepared for the demo: nobody thought about it just now.*" if found else None


def arithmetic(reading: Reading) -> str | None:
    if roots := sums.solve_quadratic(reading.question):
        return f"By the quadratic formula:\n\n$$\n\\begin{{aligned}}\n{roots}\n\\end{{aligned}}\n$$"
    if says(reading, r"```|\bdef \w+\(|\bselect\b.+\bfrom\b"):
        return None
    try:
        found = sums.find_sum(reading.question)
    except ZeroDivisionError:
        return "That divides by zero, and there is no such number: no matter what $x$ you try, $0 \\cdot x$ stays $0$."
    if found is None:
        return None
    answer = f"$$\n{found.latex} {found.relation} {found.result}\n$$\n\nThat is **{found.result}**, worked out exactly."
    if not found.exact or found.relation != "=":
        answer = answer.replace("worked out exactly", "rounded")
    if steps := sums.multiplication_steps(found.asked):
        answer += "\n\nStep by step:\n\n$$\n\\begin{aligned}\n" + " \\\\\n".join(steps) + "\n\\end{aligned}\n$$"
    return answer


def code(reading: Reading) -> str | None:
    words = set(re.findall(r"[a-z+#]+", reading.question.lower()))
    language = next(
        (name for name, aliases in LANGUAGES.items() if words & (set(aliases) - {"go", "query", "sh"})), None
    )
    if language is None and says(reading, r"\bin go\b|\bgo (?:code|function|program|snippet)\b"):
        language = "go"
    task = next(
        (name for name, (pattern, _) in TASKS.items() if name != "top rows" and says(reading, rf"\b(?:{pattern})\b")),
        None,
    )
    wants = says(reading, r"\b(?:code|function|script|snippet|program|class|algorithm|implement|query)\b")
    if not (wants or (task and language) or (language and says(reading, r"\b(?:show|write|example|how)\b"))):
        return None
    return _snippet(language or ("sql" if words & {"query"} else "python"), task)


def _snippet(language: str, task: str | None) -> str:
    known = [name for lang, name in SNIPPETS if lang == language]
    chosen = task if task in known else known[0]
    about = TASKS[chosen][1]
    if task is None:
        lead = (
            f"I keep a few snippets in stock rather than writing new ones. Here is **{chosen}** in {NAMES[language]}:"
        )
    elif task != chosen:
        lead = f"I keep no {task} in {NAMES[language]}, so here is **{chosen}**:"
    else:
        lead = f"Here is **{chosen}** in {NAMES[language]}:"
    others = ", ".join(f"*{name}*" for name in known if name != chosen)
    more = f" In {NAMES[language]} I also have {others}." if others else ""
    return f"{lead}\n\n```{language}\n{SNIPPETS[language, chosen]}```\n\nIt {about}.{more}"


def table(reading: Reading) -> str | None:
    found = says(
        reading,
        r"\bcompar(?:e|ison of|ing)\s+(.{2,40}?)\s+(?:and|with|to|vs\.?|versus)\s+"
        r"(.{2,40}?)(?=\s+(?:for|in|as|by)\b|[.,;?!]|$)",
    )
    if found:
        return _comparison(found.group(1), found.group(2))
    if not says(reading, r"\btables?\b"):
        return None
    last = min(int(n.group()), 30) if (n := says(reading, r"\b\d{1,3}\b")) else 10
    head = "| $n$ | $n^2$ | $n^3$ | $\\sqrt{n}$ |\n| ---: | ---: | ---: | ---: |\n"
    rows = "\n".join(f"| {n} | {n**2:,} | {n**3:,} | {n**0.5:.3f} |" for n in range(1, max(last, 3) + 1))
    return f"A table I can vouch for, since it is computed:\n\n{head}{rows}"


def _comparison(one: str, two: str) -> str:
    criteria = ("What it costs to begin", "What it costs to run", "Who must know it", "How it fails", "How to leave it")
    rows = "\n".join(f"| {name} | | | |" for name in criteria)
    return (
        f"| Question | {one.strip()} | {two.strip()} | Weight |\n| --- | --- | --- | ---: |\n{rows}\n\n"
        "The cells are empty on purpose: a demo model knows nothing about either. The questions are the ones that "
        "usually decide; fill in the two columns, give weights from 1 to 3, and the sum tends to match your gut or "
        "teach it something."
    )


def maths(reading: Reading) -> str | None:
    if not says(reading, r"\b(?:latex|maths?|formula|equation|integral|theorem|algebra|calculus)\b"):
        return None
    return (
        "Some true formulas, to see how they are set. Inline: $e^{i\\pi} + 1 = 0$. And displayed:\n\n"
        "$$\n\\int_{-\\infty}^{\\infty} e^{-x^2} \\, dx = \\sqrt{\\pi}\n$$\n\n"
        "$$\n\\sum_{k=1}^{n} k = \\frac{n(n+1)}{2}, \\qquad A^{-1} = \\frac{1}{ad - bc}"
        "\\begin{pmatrix} d & -b \\\\ -c & a \\end{pmatrix}\n$$\n\n"
        "I really calculate too: try `12*37`, `sqrt(2)`, `15% of 80` or `solve x^2-5x+6=0`."
    )


def plan(reading: Reading) -> str | None:
    if not says(reading, r"\b(?:plan|steps?|checklist|roadmap|to-?do|agenda|ideas?|brainstorm|organi[sz]e)\b"):
        return None
    topic = re.sub(r"^(?:an?|the|my|our)\s+", "the ", _planned(reading))
    return (
        f"A first cut for **{topic}**:\n\n"
        "| # | Step | Owner | Done when |\n| ---: | --- | --- | --- |\n"
        f"| 1 | Say in one sentence what {topic} should change | you | two people read it the same way |\n"
        "| 2 | Name who is affected and ask three of them | *name* | their words stand in the notes |\n"
        "| 3 | Choose the smallest version that shows something | *name* | it fits into two days |\n"
        "| 4 | Try it, and write down what surprised you | *name* | at least one surprise is written down |\n"
        "| 5 | Decide: go on, change or stop | you | the decision has a date and a reason |\n\n"
        "The frame is general, because I'm a demo and know nothing of your case: the owners, "
        "the dates and the one step that is missing are yours to fill in."
    )


def _planned(reading: Reading) -> str:
    found = says(
        reading,
        r"\b(?:plan|steps? (?:for|to)|checklist for|roadmap for|ideas? for|organi[sz]e)\s+(?:for\s+)?([^,.?!;]{3,60})",
    )
    return (found.group(1).strip() if found else "") or about(reading)


def drafted(reading: Reading) -> str | None:
    if not says(reading, r"\b(?:e-?mails?|letter|announce\w*|invitation|message to|memo|draft)\b"):
        return None
    found = says(reading, r"\b(?:that|about|regarding|for)\s+([^.?!]{3,120})") or says(
        reading, r"\bto\s+([^.?!]{3,120})"
    )
    fact = found.group(1).strip() if found else about(reading)
    told = bool(says(reading, r"\bthat\s+\w"))
    line = f"{fact[:1].upper()}{fact[1:]}." if told else f"I'm writing about {fact}."
    subject = " ".join(key_words(fact, 4)) or fact
    sign = reading.name or "[your name]"
    return (
        f"**Subject:** {subject[:1].upper()}{subject[1:]}\n\n> Hello everyone,\n>\n> {line}\n>\n"
        f"> If that gets in your way, answer this message by tomorrow and we'll find another.\n>\n> Thank you,\n"
        f"> {sign}\n\n"
        "What it still needs from you: the exact time, who decides, and whom to ask."
    )


def small_text(reading: Reading) -> str | None:
    topic = (
        topic_of(re.sub(r"\b(?:haiku|poem|story|joke|tale|tell|short)\b", "", reading.question, flags=re.I))
        or "the long wait"
    )
    if says(reading, r"\bjoke\b|\bfunny\b"):
        return pick(reading, JOKES)
    if says(reading, r"\b(?:haiku|poem|verse)\b"):
        return "\n".join(f"> {line}  " for line in pick(reading, HAIKUS).format(topic=topic).splitlines())
    if says(reading, r"\b(?:story|tale)\b"):
        return "\n\n".join(line.format(topic=topic) for line in STORY)
    return None
