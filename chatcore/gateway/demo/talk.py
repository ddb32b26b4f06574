"""Replies that come from the conversation itself: greetings, memory, and what a demo cannot know.

Each public function answers one kind of question, and returns None where the question is of another kind.
"""

import random
import re

from chatcore.gateway.demo import skills
from chatcore.gateway.demo.reader import Reading, about, key_words, pick, says, topic_of
from chatcore.gateway.demo.texts import CANNOT_KNOW, HELP, HONEST


def nothing_asked(reading: Reading) -> str | None:
    return (
        None
        if reading.question or reading.attachments
        else "Nothing was asked, so there is nothing to say. Try `help`."
    )


def help_text(reading: Reading) -> str | None:
    asks = r"(?:please\s+)?(?:help|/help|\?|what can you do|what can i (?:ask|do)(?: here)?|commands)[?.! ]*"
    return HELP if re.fullmatch(asks, reading.question, re.I) else None


def identity(reading: Reading) -> str | None:
    if not says(
        reading, r"\b(?:who|what) are you\b|\bare you (?:a|an|real|chat ?gpt|human|ai)\b|\bwhich model\b|your name\b"
    ):
        return None
    role = (
        f" In this chat I play the part of **{reading.role}**, as the agent's instructions ask." if reading.role else ""
    )
    return f"{HONEST}{role} Say `help` to see what can be tried with me."


def attachments(reading: Reading) -> str | None:
    if not reading.attachments:
        return None
    if reading.pictures:
        seen = " and ".join(reading.pictures)
        return (
            f"I was given {seen}. That is all I can tell: a demo model reads the size and the format of a picture and "
            "does not see what is on it. A real model with vision would."
        )
    things = "one attachment" if reading.attachments == 1 else f"{reading.attachments} attachments"
    return (
        f"I see that {things} came with your message, but a demo model cannot look inside. A model with vision could."
    )


def memory(reading: Reading) -> str | None:
    if says(reading, r"\bwhat(?:'s| is) my name\b|\bwho am i\b|\bremember my name\b"):
        if reading.name:
            return f"Your name is **{reading.name}**; you told me in this conversation."
        return "You have not told me your name in this conversation. Say *my name is …* and I'll remember it here."
    if says(reading, r"\bhow many (?:questions|turns|messages|times)\b|\bwhich turn\b"):
        return f"This is your **{_ordinal(reading.turn)}** question in this conversation."
    recall = r"\bwhat did i (?:just )?(?:ask|say)\b|\b(?:previous|last|earlier|first) (?:question|message)\b"
    if says(reading, recall + r"|\b(?:summari[sz]e|recap)\b.{0,25}\b(?:conversation|chat|so far)\b|\bso far\b"):
        return _recalled(reading)
    return None


def _recalled(reading: Reading) -> str:
    if not reading.questions:
        return "This is the first thing you asked here; there is nothing before it."
    if says(reading, r"\bfirst\b"):
        return f"Your first question was: “{reading.questions[0][:200]}”"
    if says(reading, r"\b(?:previous|last|just|did i)\b") and not says(reading, r"summari|recap"):
        return f"Just before this you wrote: “{reading.questions[-1][:200]}”"
    lines = "\n".join(f"{number}. {text[:120]}" for number, text in enumerate(reading.questions, 1))
    return f"So far you asked {len(reading.questions)} things:\n\n{lines}"


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def introduction(reading: Reading) -> str | None:
    if not reading.names_itself or len(reading.question.split()) > 25:
        return None
    rest = re.sub(
        r"[^.!?,;]*\b(?:my name|call me|i'm|i am)\b[^.!?,;]*[.!?,;]?", "", reading.question, flags=re.I
    ).strip()
    more = f" About {topic_of(rest)}: ask away." if topic_of(rest) else " What shall we try?"
    honest = f" {HONEST} Say `help` to see what I can do." if reading.turn == 1 else ""
    return f"Nice to meet you, **{reading.name}**! I'll remember that for this conversation.{honest}{more}"


def greeting(reading: Reading) -> str | None:
    if re.match(
        r"\s*(?:many )?(?:thanks|thank you|thx|cheers|great|perfect|nice|cool)\b[\w ,]{0,30}[.!]*\s*$",
        reading.question,
        re.I,
    ):
        return pick(reading, ("You're welcome!", "Any time.", "Glad it was of use. What's next?"))
    if re.match(r"\s*(?:good)?bye\b|\s*see you\b", reading.question, re.I):
        return "Goodbye! This conversation stays where it is, word for word."
    if not re.match(
        r"\s*(?:hi|hello|hey|good (?:morning|afternoon|evening)|hallo|bonjour|hola|moin)\b[\w ,'!.?]{0,40}$",
        reading.question,
        re.I,
    ):
        return None
    if reading.turn > 1:
        return f"Hello again! This is your {_ordinal(reading.turn)} message here. Shall we go on with {about(reading)}?"
    return (
        f"Hello! {HONEST}\n\n"
        + "Try `12*37`, *show me binary search in Rust*, *plan a team offsite*, or say `help` for all of it."
    )


def unknown(reading: Reading) -> str | None:
    world = r"\b(?:weather|news|today|yesterday|tomorrow|latest|current(?:ly)?|stock|price of|president|capital)\b"
    asks = r"^\s*(?:who|when|where)\b|\bwhat (?:time|day|date|year)\b|\bhow (?:old|tall|far|much does|many people)\b"
    asks += r"|\btranslate\b|^\s*what (?:is|are|was|were) (?:a|an|the)?\s*[A-Z]"
    if not (says(reading, world) or says(reading, asks)):
        return None
    words = ", ".join(f"*{word}*" for word in key_words(reading.question, 3))
    looked = f" I recognised {words} in your question, and that is where it ends." if words else ""
    return (
        f"{pick(reading, CANNOT_KNOW)}{looked}\n\n"
        "Connect a real model for this: put a provider's key into the environment (`OPENAI_API_KEY`, for example) or a "
        "model into `config.yaml`, and choose it next to the message box. This conversation can go on with it."
    )


def reflection(reading: Reading) -> str:
    """For everything else: what was asked, what it hangs together with, and where to look."""
    words = key_words(reading.question)
    if not words and reading.questions:
        return f"You seem to go on from “{reading.questions[-1][:100]}”. {angles(reading)}"
    told = ", ".join(f"**{word}**" for word in words[:3]) or "nothing I have a rule for"
    before = topic_of(reading.questions[-1]) if reading.questions else ""
    link = f" Before, it was about *{before}*; I keep that in mind." if before and before != reading.topic else ""
    rest = random.Random(reading.seed).choice((angles, _taken_apart, _asked_back))(reading)
    return f"I take your message to be about {told}.{link} {rest}"


def _taken_apart(reading: Reading) -> str:
    """What stands in the message, counted."""
    text = reading.question
    kind = "a question" if text.rstrip().endswith("?") else "a request or a statement"
    words = ", ".join(key_words(text)) or "none"
    return (
        "Knowing nothing of the world, I can at least say what stands in it:\n\n"
        f"| In your message | |\n| --- | --- |\n| Kind | {kind} |\n| Words | {len(text.split())} |\n"
        f"| Sentences | {len(skills.sentences(text))} |\n| Key words | {words} |\n"
        f"| Your messages so far | {reading.turn} |\n\n"
        f"{HONEST} Choose a real model for an answer that knows something, or say `help`."
    )


def _asked_back(reading: Reading) -> str:
    """The questions that a good answer would need settled first."""
    topic = about(reading)
    return (
        "A demo cannot answer it, but these are the things a good answer would need to know:\n\n"
        f"- [ ] For whom is {topic} meant, and what do they know already?\n"
        "- [ ] What has been tried, and what came of it?\n"
        "- [ ] By when, and how exact must it be?\n\n"
        "Write them into your question when you ask a real model; the answers get better. `help` shows what I can do."
    )


def angles(reading: Reading) -> str:
    """Three ways to look at the topic, which hold for any."""
    topic = about(reading)
    ways = random.Random(reading.seed).sample(
        (
            f"**What would be different** if {topic} were settled? The answer is the goal; all else is a way to it.",
            f"**What is already known** about {topic}, and who said so when? Facts first, with dates.",
            "**What is the smallest step** that would show something by tomorrow?",
            f"**What could go wrong** with {topic}, and how would you notice early?",
            f"**Who has done this before?** A talk of ten minutes beats a week of guessing about {topic}.",
            "**What can be left out?** The part that nobody misses costs as much as the rest.",
        ),
        3,
    )
    lines = "\n".join(f"{number}. {way}" for number, way in enumerate(ways, 1))
    return (
        f"Three ways to look at it:\n\n{lines}\n\n"
        "*I'm a demo without knowledge of the matter: these are questions, not answers. `help` shows what I do better.*"
    )


def breaking_off(reading: Reading, how: str) -> str:
    """A text to be broken off in the middle."""
    ends = {"cut": "breaks off", "stall": "falls silent", "fail": "fails"}[how]
    topic = reading.topic or "a broken line"
    return (
        f"This reply {ends} about two thirds through, as you asked.\n\n"
        f"{skills.essay(topic, 90, reading.seed + how)}\n\n"
        "If you can read this line, the rest came after all: that is what Continue is for."
    )


def title(reading: Reading) -> str | None:
    """A title of at most six words, where a program asks for the title of a conversation."""
    asks = r"\b(?:title|name)\b.{0,60}\b(?:conversation|chat)\b|\b(?:conversation|chat)\b.{0,40}\btitle\b"
    if not re.search(asks, reading.system or reading.question[:300], re.I | re.S):
        return None
    words = (topic_of(reading.question) or " ".join(key_words(reading.question)) or "New chat").split()[:6]
    return " ".join(words)[:1].upper() + " ".join(words)[1:]
