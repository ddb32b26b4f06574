"""Who the made-up people are, and which models they use. A few of both by default, many where many calls are made."""

from dataclasses import dataclass
from typing import Final

_SMALL: Final = 100_000  # up to so many calls are a small team's
_MOST_PEOPLE: Final = 2_000


@dataclass(frozen=True)
class DemoModel:
    """Prices are whole nano-USD a token (= USD per million × 1000), None for a model nobody bills."""

    name: str
    provider: str
    provider_model: str
    prices: tuple[int, int, int] | None  # prompt, cached prompt, completion
    reasoning: float  # share of the completion
    ttft_ms: int
    tokens_per_second: int
    share: tuple[float, float]  # of all calls, at the start and at the end of the range


@dataclass(frozen=True)
class DemoPerson:
    """`activity`: relative number of calls. `taste`: the place of the favourite model among those there are."""

    name: str
    activity: float
    taste: int
    tier: str
    team: str


# Prices: the table inside litellm 1.106.2 (model_prices_and_context_window_backup.json).
MODELS: Final = (
    DemoModel("gpt-5.6", "openai", "openai/gpt-5.6", (4000, 400, 20000), 0.35, 1400, 85, (0.0, 0.20)),
    DemoModel("gpt-5.4-mini", "openai", "openai/gpt-5.4-mini", (750, 75, 4500), 0.15, 620, 140, (0.26, 0.17)),
    DemoModel(
        "claude-sonnet-5-5", "anthropic", "anthropic/claude-sonnet-5-5", (2000, 100, 10000), 0.2, 980, 78, (0.27, 0.25)
    ),
    DemoModel(
        "claude-haiku-4-5", "anthropic", "anthropic/claude-haiku-4-5", (1000, 100, 5000), 0.0, 540, 150, (0.12, 0.10)
    ),
    DemoModel("gemini-3.8-flash", "gemini", "gemini/gemini-3.8-flash", (750, 75, 3750), 0.1, 480, 190, (0.10, 0.13)),
    DemoModel("grok-4.7", "xai", "xai/grok-4.7", (2000, 500, 6000), 0.25, 1100, 90, (0.14, 0.04)),
    DemoModel("gpt-oss-120b", "groq", "groq/openai/gpt-oss-120b", (150, 75, 600), 0.1, 260, 420, (0.06, 0.06)),
    DemoModel("llama3.3", "ollama", "ollama/llama3.3", None, 0.0, 900, 28, (0.05, 0.05)),
)

# More of them, as a large company has: provider, name, the prices, first word (ms), tokens a second.
_MORE: Final = """
openai gpt-5.4 2500 250 15000 1200 90
mistral mistral-large-4 680 68 2090 600 110
deepseek deepseek-v4-pro 1320 44 3960 1500 60
anthropic claude-opus-5-5 4000 200 20000 1500 60
gemini gemini-4-argon 2000 100 10000 1300 95
openai gpt-5.6-luna 200 20 1200 450 180
bedrock amazon.nova-pro-v1:0 800 200 3200 700 100
openai gpt-4.1 2000 500 8000 600 100
fireworks_ai kimi-k3 3000 300 15000 900 120
perplexity sonar-pro 3000 3000 15000 1800 70
openai gpt-6-sol 2000 200 10000 900 110
anthropic claude-haiku-5-5 100 10 500 400 210
mistral mistral-medium-3-5 1500 150 7500 650 95
gemini gemini-3.5-flash-lite 300 30 2500 350 240
openai o3 2000 500 8000 4000 80
deepseek deepseek-v4-flash 300 6 1200 700 140
groq qwen3.8-27b 800 800 4000 250 380
together_ai glm-5.3 1400 260 4400 900 85
anthropic claude-sonnet-4-6 3000 300 15000 1000 75
openai gpt-5-mini 250 25 2000 700 150
bedrock meta.llama4-maverick-17b 240 240 970 500 130
xai grok-4.20 1250 200 2500 900 100
fireworks_ai glm-5p3-flash 150 30 500 350 200
gemini gemini-2.5-pro 1250 125 10000 1600 90
openai gpt-5.3-codex 1750 175 14000 1500 85
mistral codestral-2508 300 30 900 350 170
perplexity sonar-reasoning-pro 2000 2000 8000 3500 60
anthropic claude-opus-4-8 5000 500 25000 1700 55
openai gpt-4o-mini 150 75 600 450 130
bedrock amazon.nova-micro-v1:0 35 35 140 300 220
together_ai muse-glimmer-30b 350 40 1500 500 160
openai gpt-5.4-nano 200 20 1250 400 200
mistral ministral-3-8b 150 15 150 280 230
gemini gemini-3.6-flash 750 75 3750 500 185
deepseek deepseek-v3.2 280 28 400 900 70
xai grok-code-fast-1 1000 200 2000 500 190
fireworks_ai qwen3p8-max 2000 250 6000 1000 80
openai gpt-5.5-pro 30000 30000 180000 9000 40
together_ai minimax-m3 300 60 1200 700 110
anthropic claude-fable-5-1 10000 250 50000 2500 45
bedrock qwen.qwen3-coder-480b 450 450 1800 700 90
openai gpt-3.5-turbo 500 500 1500 400 140
"""

_NAMES: Final = (
    "Mira Okafor", "Jonas Lind", "Priya Raman", "Tomás Vidal", "Hana Kobayashi", "Elif Demir", "Sam Whitaker",
    "Noor Haddad", "Lukas Brandt",
)  # fmt: skip
_ACTIVITY: Final = (1.00, 0.86, 0.74, 0.55, 0.48, 0.37, 0.28, 0.19, 0.11)
_TASTES: Final = (2, 0, 4, 3, 1, 5, 2, 7, 6)
_FIRST: Final = (
    "Ada Ben Chen Dina Emil Fatima Goran Helena Igor Jana Kofi Lena Mateo Nadia Oskar Paula Quentin Rosa Sven Tara "
    "Umar Vera Wim Ximena Yara Zoltan Aiko Bruno Carla Dmitri Esra Felix Greta Hugo Ines Jamal Katya Leo Maya Nils"
)
_LAST: Final = (
    "Abe Baum Costa Diaz Eriksen Fofana Gruber Haas Ito Jansen Kaya Lopez Moreau Novak Osei Patel Quist Rossi Sato "
    "Toth Ueda Vogel Weber Xu Yilmaz Zeman Adler Berg Conti Dahl Evans Frank Gomez Holm Ivanov Jung Klein Lang Meier "
    "Nagy Olsen Pinto Reyes Silva Tan Urban Varga Wolf Young Zhou"
)
_TEAMS: Final = (
    "Research", "Product", "Support", "Sales", "Marketing", "Finance", "Legal", "People", "Platform", "Security",
    "Design", "Operations",
)  # fmt: skip
_TIERS: Final = ("free", "pro", "free", "team", "pro", "free", "free", "pro", "free", "team")


def models(rows: int, count: int | None = None) -> tuple[DemoModel, ...]:
    """The models of so many calls: eight for a small team, up to fifty; `count`: as many as that."""
    if count is None:
        count = len(MODELS) if rows <= _SMALL else len(MODELS) + rows // 20_000
    more = []
    for rank, line in enumerate(_MORE.split("\n")[1:-1]):
        provider, name, *numbers = line.split()
        fresh, cached, out, ttft_ms, speed = map(int, numbers)
        share = 0.05 * 0.94**rank
        more.append(
            DemoModel(name, provider, f"{provider}/{name}", (fresh, cached, out), 0.1, ttft_ms, speed, (share, share))
        )
    return (*MODELS, *more)[: max(count, 1)]


def people(rows: int, models: int, count: int | None = None) -> tuple[DemoPerson, ...]:
    """The people of so many calls: nine of a small team, up to 2,000; `count`: as many as that."""
    if count is None:
        count = len(_NAMES) if rows <= _SMALL else min(max(rows // 500, len(_NAMES)), _MOST_PEOPLE)
    teams = _TEAMS[:3] if count <= len(_NAMES) else _TEAMS
    found, firsts, lasts = [], _FIRST.split(), _LAST.split()
    for place in range(max(min(count, _MOST_PEOPLE), 1)):
        first = place < len(_NAMES)
        name = _NAMES[place] if first else f"{firsts[place % len(firsts)]} {lasts[place // len(firsts)]}"
        activity = _ACTIVITY[place] if first and count <= len(_NAMES) else (place + 3.0) ** -0.55
        taste = _TASTES[place] if first else (place * 7 + place // 5) % models
        found.append(DemoPerson(name, activity, taste % models, _TIERS[place % 10], teams[place * 5 % len(teams)]))
    return tuple(found)
