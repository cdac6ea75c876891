"""For each tool a file as a user has it: comments, order, quotes, empty lines, a key, and an entry of the user's own.

`KEPT` are lines of it that must come through whatever nbllm does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

USERS_KEY = "-".join(("sk", "proj", "Zx81Qw77Lm20Pk55Jh43Gf21Ds09Az68"))
"""In the shape of a key, and nobody's."""


@dataclass(frozen=True, slots=True)
class UserFile:
    """A file that was there before nbllm came."""

    text: str
    broken: str
    """A text that the tool could not read either."""


_AICHAT = f"""\
# my own settings
model: mine:gpt   # the one I use

temperature: 0.50
clients:
  # a list
  - type: openai-compatible
    name: mine
    api_base: https://mine.example/v1
    api_key: {USERS_KEY}
    models:
      - name: 'gpt'     # quoted
        max_input_tokens: 1_000
save: true

"""

_CODEX = f"""\
# codex, my way
model = "gpt-5"   # the one I use
model_provider = 'mine'

[model_providers.mine] # own
name = "Mine"
base_url = "https://mine.example/v1"
experimental_bearer_token = "{USERS_KEY}"

  [tui]
  theme   = "dark"
array = [
  1, # one
  2,
]
"""

_MODS = f"""\
# mods
default-model: gpt
apis:
  mine:
    base-url: https://mine.example/v1
    api-key: {USERS_KEY} # mine
    models:
      gpt:
        aliases: ["g", 'h']
        max-input-chars: 1000
word-wrap: 80
"""

_LLM = f"""\
# models of mine
- model_id: mine
  model_name: gpt   # upstream
  api_base: "https://mine.example/v1"
  headers: {{authorization: {USERS_KEY}}}

"""

_OPENCODE = f"""\
// opencode
{{
  "$schema": "https://opencode.ai/config.json",
  /* a block
     comment */
  "provider": {{
    "mine": {{
      "options": {{ "baseURL": "https://mine.example/v1", "apiKey": "{USERS_KEY}" }}, // mine
      "models": {{ "gpt": {{}}, }},
    }},
  }},

  "theme": "dark", // last
}}
"""

_LITELLM = f"""\
# proxy
model_list:
  - model_name: mine
    litellm_params: &params
      model: openai/gpt   # upstream
      api_base: https://mine.example/v1
      api_key: {USERS_KEY}

general_settings: {{master_key: os.environ/MASTER}}
"""

_CONTINUE = f"""\
name: My assistant   # name
version: 0.0.1
schema: v1
models:
  - name: Mine
    provider: openai
    model: gpt
    apiKey: {USERS_KEY}
    roles: [chat, edit]

rules: []
"""

_AIDER = """\
// metadata
{
    "mine/gpt": {
        "max_tokens": 4096,   // small
        "input_cost_per_token": 0.00000014,
        "litellm_provider": "mine"
    }
}
"""

_CRUSH = f"""\
# Providers for crush, written by nbllm. To use them, put this line into crushrc:
#   source ~/.config/crush/nbllm.sh

provider add mine --type openai-compat --base-url https://mine.example/v1 --api-key {USERS_KEY} # own
model add mine/gpt --name 'My "gpt"'
if true; then
    option debug true
fi
"""

FILES: Mapping[str, UserFile] = {
    "aichat": UserFile(_AICHAT, "clients: [\n"),
    "codex": UserFile(_CODEX, "model = \n"),
    "mods": UserFile(_MODS, "apis: {\n"),
    "llm": UserFile(_LLM, "- [\n"),
    "opencode": UserFile(_OPENCODE, '{"provider": }\n'),
    "litellm": UserFile(_LITELLM, "model_list: [\n"),
    "continue": UserFile(_CONTINUE, "models: [\n"),
    "aider": UserFile(_AIDER, '{"a": }\n'),
    "crush": UserFile(_CRUSH, "provider add mine --type openai-compat\n"),
}
