"""What the demo models really work out: edits, summaries, small code reviews, texts of an exact length."""

import ast
import random
import re
from typing import Final

from chatcore.gateway.demo.reader import key_words
from chatcore.gateway.demo.texts import HEADINGS, SENTENCES

_WORDY: Final = (
    (r"\bwe (?:would|'d) like to (?:kindly )?(?:inform|let) you(?: know)? that\s*", ""),
    (r"\b(?:please be advised|please note|it should be noted|i am writing to inform you) that\s*", ""),
    (r"\b(?:in order|so as) to\b", "to"),
    (r"\bdue to the fact that\b", "because"),
    (r"\bat (?:this|the present) (?:point in )?time\b", "now"),
    (r"\b(?:in the event that)\b", "if"),
    (r"\bprior to\b", "before"),
    (r"\bsubsequent to\b", "after"),
    (r"\butili[sz](e|ed|es|ing)\b", r"us\1"),
    (r"\bfacilitate\b", "help"),
    (r"\bleverage\b", "use"),
    (r"\ba (?:large|significant) number of\b", "many"),
    (r"\b(?:very|really|basically|actually|kindly|simply|quite|just)\s+", ""),
    (r"\bas soon as possible\b", "soon"),
)


def edit(text: str) -> tuple[str, list[str]]:
    """The text with wordy phrases made plain, and the phrases that went."""
    gone: list[str] = []
    for pattern, plain in _WORDY:
        found = [match.group().strip() for match in re.finditer(pattern, text, re.I)]
        if found:
            gone += found
            text = re.sub(pattern, plain, text, flags=re.I)
    text = re.sub(r"[ \t]{2,}", " ", text).strip()
    text = re.sub(r"(^|[.!?]\s+)([a-z])", lambda match: match.group(1) + match.group(2).upper(), text)
    return text, list(dict.fromkeys(gone))


def sentences(text: str) -> list[str]:
    """The sentences of a text, roughly."""
    return [part.strip() for part in re.split(r"(?<=[.!?])\s+|\n+", text) if part.strip()]


def summarise(text: str, most: int = 3) -> list[str]:
    """The sentences that hold most of the text's own key words, in their order."""
    telling = {word.lower() for word in key_words(text, 8)}
    parts = sentences(text)

    def weight(index: int) -> tuple[float, int]:
        words = re.findall(r"[\w'-]+", parts[index].lower())
        return (-sum(word in telling for word in words) / (len(words) + 4) - (0.1 if index == 0 else 0.0), index)

    return [parts[index] for index in sorted(sorted(range(len(parts)), key=weight)[:most])]


def review_python(source: str) -> list[str] | None:
    """Findings about a piece of Python, each one sentence; None where it is not Python."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return None
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 1)
        found += [(line, text) for text in _faults(node)]
    return [f"**Line {line}:** {text}" for line, text in sorted(set(found))]


def _faults(node: ast.AST) -> list[str]:
    match node:
        case ast.BinOp(op=ast.Div() | ast.FloorDiv(), right=ast.Call(func=ast.Name(id="len"), args=[of])):
            name = ast.unparse(of)
            return [
                f"divides by `len({name})`, so an empty `{name}` raises `ZeroDivisionError`; refuse it or return early."
            ]
        case ast.FunctionDef(args=arguments, name=name):
            texts = []
            if any(isinstance(value, ast.List | ast.Dict | ast.Set) for value in arguments.defaults):
                texts.append(f"`{name}` has a mutable default, shared by all calls; use `None` and make it inside.")
            if node.returns is None or any(argument.annotation is None for argument in arguments.args):
                texts.append(f"`{name}` has no full type hints; they would say what goes in and out.")
            return texts
        case ast.ExceptHandler(type=None):
            return ["a bare `except:` also catches `KeyboardInterrupt`; name the error you expect."]
        case ast.Compare(ops=[ast.Eq() | ast.NotEq()], comparators=[ast.Constant(value=None)]):
            return ["compares with `None` by `==`; `is None` cannot be overridden."]
        case ast.Call(func=ast.Name(id="eval" | "exec" as name)):
            return [f"`{name}` runs whatever it is given; parse the input instead."]
        case ast.Call(func=ast.Attribute(attr="execute"), args=[ast.JoinedStr(), *_]):
            return ["builds SQL from an f-string, which invites injection; pass the values as parameters."]
        case ast.Call(func=ast.Name(id="open")):
            return ["check that `open` stands in a `with`, so that the file is closed on errors too."]
    return []


def essay(topic: str, words: int, seed: str) -> str:
    """A text of exactly `words` words, with headings and paragraphs. A heading's words count, its `##` does not."""
    chance = random.Random(seed)
    parts: list[str] = []
    left, section = words, 0
    while left > 0:
        heading = HEADINGS[section % len(HEADINGS)]
        if section and left > 60:
            parts.append(f"## {heading}")
            left -= len(heading.split())
        for _ in range(3):
            paragraph = _paragraph(topic, min(left, chance.randint(55, 85)), chance)
            if paragraph:
                parts.append(paragraph)
                left -= len(paragraph.split())
        section += 1
    return "\n\n".join(parts)


def _paragraph(topic: str, words: int, chance: random.Random) -> str:
    """Exactly `words` words; the last sentence is shortened to fit."""
    taken: list[str] = []
    order = chance.sample(SENTENCES, len(SENTENCES))
    while len(taken) < words:
        sentence = order[len(taken) % len(order)] if not order else order.pop()
        taken += sentence.format(topic=topic).split()
        order = order or chance.sample(SENTENCES, len(SENTENCES))
    text = " ".join(taken[:words])
    return text if not text or text[-1] in ".!?" else text.rstrip(",;:") + "."
