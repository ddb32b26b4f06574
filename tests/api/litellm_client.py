"""One program by PyPI's litellm: python litellm_client.py URL KEY. Prints what it saw, one JSON object."""

import json
import sys

import litellm

url, key = sys.argv[1:]
HELLO = [{"role": "user", "content": "hello"}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def ask(model, **more):
    return litellm.completion(
        model=f"openai/{model}", messages=HELLO, api_base=url, api_key=key, num_retries=0, max_retries=0, **more
    )


whole = ask("ok;n=12")
streamed = "".join(chunk.choices[0].delta.content or "" for chunk in ask("ok;n=12", stream=True))
tool = ask("tools", tools=[TOOL], _skip_mcp_handler=True).choices[0].message.tool_calls[0].function.name
errors = {}
for model in ("429;after=7", "500", "nobody"):
    try:
        ask(model)
    except Exception as error:  # noqa: BLE001 - which one it is, is what is looked for
        errors[model] = type(error).__name__
left = ask("ok;n=60;rate=20", stream=True)
next(iter(left))
left.completion_stream.close()
print(json.dumps({
    "whole": whole.choices[0].message.content, "streamed": streamed, "usage": whole.usage.completion_tokens,
    "tool": tool, "errors": errors,
}))  # fmt: skip
