"""The demo models: no key, no network, no intelligence, and honest about it. See `speech` for how they speak."""

from chatcore.gateway.demo.speech import (
    DEMO_MODELS,
    DemoCut,
    DemoEvent,
    DemoFailure,
    DemoModel,
    count_tokens,
    demo_model,
    reply,
    usage,
)

__all__ = [
    "DEMO_MODELS",
    "DemoCut",
    "DemoEvent",
    "DemoFailure",
    "DemoModel",
    "count_tokens",
    "demo_model",
    "reply",
    "usage",
]
