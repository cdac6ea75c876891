"""A model file small enough for a test: about half a megabyte, random weights, the llama architecture.

Any engine that reads GGUF loads it: a byte-level tokenizer (so every text can be encoded), a cache, sampling, a chat
template. What it says is babble; tests look at the shape of an answer and never at its words.

    python tests/tiny_gguf.py OUT.gguf

Two choices make the babble readable. The first embedding column is the same large number for every token, and no layer
writes to it, so the head's first column acts as a bias a token: words get a high one, bare bytes a very low one. And
the end token's bias is set so that it comes about once in `words_before_stop` tokens.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHAT_TEMPLATE = """\
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}"""

_WORDS = (
    "we", "the", "of", "to", "and", "in", "is", "it", "on", "as", "at", "by", "was", "for", "are", "with", "his",
    "they", "be", "this", "from", "or", "one", "had", "not", "but", "some", "what", "harbour", "winter", "paper",
    "copper", "market", "thread", "signal", "valley", "engine", "meadow", "candle", "mirror",
)  # fmt: skip
_END, _TURN, _TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
_CONSTANT = 3.0
_NEVER = -12.0
_OFTEN = 2.0


@dataclass(frozen=True)
class _Shape:
    width: int = 64
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    hidden: int = 128
    context: int = 512

    @property
    def head_width(self) -> int:
        return self.width // self.heads


def write(
    path: Path, *, seed: int = 7, name: str = "tiny babble", words_before_stop: float = 60.0, context: int = 512
) -> Path:
    """Write the model to `path`; the same seed gives the same file. Needs `gguf` and `numpy`."""
    import gguf
    import numpy as np

    shape = _Shape(context=context)
    tokens, merges, words = _vocabulary()
    writer = gguf.GGUFWriter(str(path), "llama")
    _describe(writer, shape, name, tokens, merges)
    rng = np.random.default_rng(seed)
    for tensor, values in _weights(np, rng, shape, tokens, words, words_before_stop).items():
        writer.add_tensor(tensor, np.ascontiguousarray(values, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _byte_letters() -> list[str]:
    """One printable letter for each byte: GPT-2's table, in which bytes without a shape get letters from 256 on."""
    shown = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(256, 512))
    return [chr(byte) if byte in shown else chr(next(spare)) for byte in range(256)]


def _vocabulary() -> tuple[list[str], list[str], set[str]]:
    """Tokens, merges, and which tokens are whole words. A word grows from its left, one letter a merge."""
    letters = _byte_letters()
    tokens: dict[str, None] = dict.fromkeys(letters)
    merges: list[str] = []
    words: set[str] = set()
    for word in [f" {w}" for w in _WORDS] + [".", ","]:
        spelled = [letters[b] for b in word.encode()]
        grown = spelled[0]
        for letter in spelled[1:]:
            if grown + letter not in tokens:
                merges.append(f"{grown} {letter}")
                tokens[grown + letter] = None
            grown += letter
        words.add(grown)
    return [*tokens, _END, _TURN, _TURN_END], merges, words


def _describe(writer: Any, shape: _Shape, name: str, tokens: list[str], merges: list[str]) -> None:
    import gguf

    special = {_END, _TURN, _TURN_END}
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_merges(merges)
    writer.add_token_types([gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t in tokens])
    writer.add_bos_token_id(tokens.index(_END))
    writer.add_pad_token_id(tokens.index(_END))
    writer.add_eos_token_id(tokens.index(_TURN_END))
    writer.add_eot_token_id(tokens.index(_TURN_END))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def _weights(np: Any, rng: Any, s: _Shape, tokens: list[str], words: set[str], before_stop: float) -> dict[str, Any]:
    def noise(rows: int, columns: int, scale: float, *, spare_first: bool = False) -> Any:
        values = rng.standard_normal((rows, columns)) * scale
        if spare_first:  # this one writes into the stream that carries the constant
            values[0, :] = 0.0
        return values

    embedding = noise(len(tokens), s.width, 0.5)
    embedding[:, 0] = _CONSTANT
    head = noise(len(tokens), s.width, 0.1)
    # What the final normalisation leaves of the constant: divided by the root mean square of a typical row.
    left = _CONSTANT / math.sqrt((_CONSTANT**2 + 0.25 * (s.width - 1)) / s.width)
    head[:, 0] = _biases(np, tokens, words, before_stop) / left
    weights = {"token_embd.weight": embedding, "output_norm.weight": np.ones(s.width), "output.weight": head}
    small = 0.4 / math.sqrt(s.width)
    for layer in range(s.layers):
        weights |= {
            f"blk.{layer}.{name}.weight": values
            for name, values in {
                "attn_norm": np.ones(s.width),
                "attn_q": noise(s.width, s.width, small),
                "attn_k": noise(s.kv_heads * s.head_width, s.width, small),
                "attn_v": noise(s.kv_heads * s.head_width, s.width, small),
                "attn_output": noise(s.width, s.width, small, spare_first=True),
                "ffn_norm": np.ones(s.width),
                "ffn_gate": noise(s.hidden, s.width, small),
                "ffn_up": noise(s.hidden, s.width, small),
                "ffn_down": noise(s.width, s.hidden, small, spare_first=True),
            }.items()
        }
    return weights


def _biases(np: Any, tokens: list[str], words: set[str], before_stop: float) -> Any:
    biases = np.full(len(tokens), _NEVER)
    for index, token in enumerate(tokens):
        if token in words:
            biases[index] = _OFTEN
    biases[tokens.index(_TURN_END)] = _OFTEN + math.log(len(words) / before_stop)
    return biases


if __name__ == "__main__":
    written = write(Path(sys.argv[1]))
    print(f"{written}: {written.stat().st_size:,} bytes")
