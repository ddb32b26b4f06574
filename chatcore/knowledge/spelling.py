"""The words of passages and questions in the spelling of the index: the house's one spelling, and English endings cut.

Imported by the process that reads documents, too, so it needs nothing but the words of `conversations`.
"""

import unicodedata
from functools import lru_cache
from itertools import groupby, pairwise
from typing import Final

import snowballstemmer  # type: ignore[import-untyped]

from chatcore.conversations import words

VERSION: Final = 100 * words.VERSION + 1
"""Raise it when anything here spells differently: documents are indexed anew."""
MAX_TERMS: Final = 24
_FIRST_UNSPACED: Final = "\u0e00"  # Thai; the scripts that `words` takes letter by letter begin here
_stemmer: Final = snowballstemmer.stemmer("english")
# What questions are made of and answers need not have: English, German, French, Spanish.
_QUESTION_WORDS: Final = """
    a about all also am an and any anyone are as at be because been before being but by can cannot could d did do does
    doing don during each else ever few find for from get gets give given go goes got had happen happens has have having
    he help her here hers him his how i if in into is isn it its itself just know ll look made make makes many may me
    might more most much must my need no not of off on once one only or other our out over own please possible re s same
    say says see shall she should show so some someone something still such t take takes tell than that the their them
    then there these they thing things this those through to too under up upon us use used uses using ve very want was
    we were what when where whether which while who whom whose why will with without work works would yes you your aber
    alle als am an auch auf aus bei bin bis da damit das dass dein dem den der des die dies diese dieser dir doch du
    durch ein eine einem einen einer eines er es etwas finde finden fur gibt habe haben hat hier ich ihr im in ist ja
    kann kein keine man mehr mein meine mich mir mit muss nach nicht noch nur ob oder sehr sein sich sie sind so uber um
    und uns unser vom von vor wann warum was wenn wer werden wie wieso wir wird wo wurde zu zum zur au aux avec ce ces
    cet cette comment dans de des du elle en est et etre il ils je la le les leur lui mais mon ne nos notre nous ou par
    pas plus pour pourquoi quand que quel quelle quels qui sa se ses son sont sur un une vos votre vous como con cual
    cuando de del donde el ella en entre es esta este esto hay la las lo los mas me mi muy no o para pero por porque que
    quien se ser si sin son su sus te tu un una y ya yo
"""
_EMPTY_WORDS: Final = frozenset(_QUESTION_WORDS.split())


def spelled(text: str) -> list[str]:
    """The words of `text`, in order."""
    return [_stem(word) for word in words.normal(text).split()]


def terms(question: str) -> list[tuple[str, ...]]:
    """What to look for, each once, at most `MAX_TERMS`: words, and of scripts without spaces pairs of letters.

    Words that say nothing are left out where there are others. Empty where there is no word at all.
    """
    made: list[tuple[str, ...]] = []
    for unspaced, run in groupby(_telling(question), key=_is_unspaced):
        some = [_stem(word) for word in run]
        pairs = list(pairwise(some)) if unspaced and len(some) > 1 else [(word,) for word in some]
        made += pairs
    return list(dict.fromkeys(made))[:MAX_TERMS]


def marked(question: str) -> words.Query:
    """What a person is shown of a passage: its words of the question, in other forms too. For `words.snippet`."""
    made = []
    for word in _telling(question):
        stem = _stem(word)
        goes_on = len(stem) >= words.MIN_PREFIX and word.startswith(stem)
        made.append(words.Term((stem if goes_on else word,), goes_on))
    return words.Query(tuple(dict.fromkeys(made))[:MAX_TERMS])


def _telling(question: str) -> list[str]:
    found = words.normal(question).split()
    return [word for word in found if word not in _EMPTY_WORDS] or found


def _is_unspaced(word: str) -> bool:
    """Whether it is one letter, with its marks, of a script without spaces between words."""
    return word >= _FIRST_UNSPACED and all(unicodedata.category(sign) in ("Mn", "Mc") for sign in word[1:])


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    return str(_stemmer.stemWord(word)) if len(word) > 2 and word.isascii() and word.isalpha() else word
