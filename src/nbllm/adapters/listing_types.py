"""What a model is for: chat, embedding, image and so on.

Read in this order: the field that the row names, a field that is commonly used, what goes in and comes out, the id.
A model that nothing is said of has no type; it is listed all the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from nbllm.adapters.listing_fields import get_path, last_name, text, words

FROM_ID = "the id"
"""The source of a type that only the model's id tells."""

COMMON = ("type", "mode", "model_type", "task", "pipeline_tag", "endpoints", "supported_endpoints")
"""Fields that are read in every listing."""

_TYPES: Mapping[str, tuple[str, ...]] = {
    "chat": ("chat", "chatcompletion", "chatcompletions", "completionchat", "supportschat", "responses", "messages",
             "text", "llm", "generatecontent", "textgeneration", "imagetexttotext", "conversational"),
    "completion": ("completion", "completions", "textcompletion", "code"),
    "embedding": ("embedding", "embeddings", "embed", "embedcontent", "embedtext", "featureextraction",
                  "sentencesimilarity"),
    "rerank": ("rerank", "reranker", "reranking", "textranking"),
    "moderation": ("moderation", "moderations", "guard"),
    "classification": ("classification", "textclassification", "classify"),
    "image": ("image", "images", "imagegeneration", "imagegenerations", "imagesgenerations", "texttoimage",
              "imagetoimage", "imageedit", "imageedits", "inpaint", "upscale", "fluminabasemodel"),
    "video": ("video", "videogeneration", "texttovideo", "imagetovideo"),
    "speech": ("speech", "tts", "texttospeech", "audiospeech"),
    "transcription": ("transcription", "transcribe", "audiotranscription", "audiotranscriptions", "asr", "stt",
                      "speechtotext", "automaticspeechrecognition"),
    "audio": ("audio", "music", "texttoaudio"),
    "realtime": ("realtime", "bidigeneratecontent"),
    "ocr": ("ocr",),
}  # fmt: skip
"""Type to the words for it in listings, without hyphens and slashes. Of several the first type here counts."""
_TYPE_OF = {word: type_ for type_, its in _TYPES.items() for word in its}
# Vercel's `language` is chat; Together's is a model that only completes, so its row names the field.
_USUALLY = {**_TYPE_OF, "language": "chat"}
TYPES = tuple(_TYPES)
"""All types that are told apart."""

_BY_ID: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (type_, re.compile(pattern, re.IGNORECASE))
    for type_, pattern in (
        ("rerank", r"re-?rank"),
        ("embedding", r"embed|(?:^|[/_-])(?:bge|gte|e5|minilm|voyage)-"),
        ("moderation", r"moderation|shieldgemma|(?:^|[/_-])(?:llama|prompt|qwen3?|granite)-?guard|-guard(?:[_-]|$)"),
        ("transcription", r"whisper|transcribe|transcription|(?:^|[/_-])(?:asr|stt)(?:[_-]|$)"),
        ("speech", r"(?:^|[/_-])tts(?:[_-]|$)|text-to-speech"),
        ("realtime", r"realtime|-live-|-native-audio-"),
        ("video", r"(?:^|[/_-])(?:veo|sora|kling)-|text-to-video|image-to-video"),
        ("audio", r"(?:^|[/_-])(?:lyria|musicgen)"),
        ("image", r"dall-e|(?:^|[/_-])(?:imagen|flux|sdxl|gpt-image)|stable-?diffusion|[_-]image(?:[_-]|$)"),
        ("ocr", r"(?:^|[/_-])ocr(?:[_-]|$)|[_-]ocr$"),
        ("completion", r"(?:^|/)(?:babbage|davinci)-002$|gpt-3\.5-turbo-instruct"),
        ("chat", r"(?:^|[/_-])(?:claude|gemini|gpt-(?:3\.5|4|5|oss|audio)|chatgpt|grok|kimi|command)(?:[/_.:-]|o|$)"),
        ("chat", r"(?:^|/)o[134](?:-|$)|(?:^|[/_-])(?:instruct|chat|it)(?:[/_:-]|$)"),
    )
)  # fmt: skip
"""What ids themselves say; the first that fits. Names of families that also have models without chat are left out."""


def model_type(
    row: Any,
    id_: str,
    path: str | None,
    inputs: Sequence[str] | None,
    outputs: Sequence[str] | None,
    *,
    common: Sequence[str] = COMMON,
) -> tuple[str | None, bool]:
    """What a model is for, and whether only its id says so.

    Args:
        row: Its row of the listing.
        id_: Its id.
        path: The field that the row of the provider names; a word that is not known here is taken as it is.
        inputs: What goes in, where it is known.
        outputs: What comes out.
        common: Those of `COMMON` that the listing has.
    """
    found = _from_field(row, path) or _from_common(row, common) or _from_modalities(inputs, outputs)
    if found is not None:
        return found, False
    by_id = next((type_ for type_, pattern in _BY_ID if pattern.search(id_[:200])), None)
    return by_id, by_id is not None


def _from_field(row: Any, path: str | None) -> str | None:
    own = None
    for part in (path or "").split("|"):
        value = get_path(row, part.strip()) if part.strip() else None
        if found := _known(words(value, last_name(part)), _TYPE_OF):
            return found
        if own is None and isinstance(value, str) and "|" not in (path or ""):
            own = text(value)
    return own[:40].lower() if own else None


def _from_common(row: Any, common: Sequence[str]) -> str | None:
    return next((found for name in common if (found := _known(_spoken(row, name), _USUALLY))), None)


def _spoken(row: Any, name: str) -> list[str]:
    value = row.get(name)
    return words(value) if isinstance(value, str | list) else []


def _known(said: list[str], table: Mapping[str, str]) -> str | None:
    types = {table[w] for word in said for w in (word, word.removeprefix("v1")) if w in table}
    return next((type_ for type_ in TYPES if type_ in types), None)


def _from_modalities(inputs: Sequence[str] | None, outputs: Sequence[str] | None) -> str | None:
    if not outputs:
        return None
    if "text" in outputs:
        return "transcription" if inputs and set(inputs) == {"audio"} else "chat"
    return next((found for out in outputs if (found := _made(out))), None)


def _made(output: str) -> str | None:
    return {"image": "image", "video": "video", "audio": "speech", "embedding": "embedding",
            "embeddings": "embedding"}.get(output)  # fmt: skip
