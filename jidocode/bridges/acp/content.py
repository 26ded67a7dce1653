"""What a person says in an editor, as the blocks of a message."""

from __future__ import annotations

from collections.abc import Iterable

from acp import schema

from jidocode.errors import InvalidRequestError
from jidocode.session.conversation.blocks import Block, FileBlock, ImageBlock, TextBlock

PromptBlock = (
    schema.TextContentBlock
    | schema.ImageContentBlock
    | schema.AudioContentBlock
    | schema.ResourceContentBlock
    | schema.EmbeddedResourceContentBlock
)


def as_content(prompt: Iterable[PromptBlock]) -> str | list[Block]:
    """Return what an agent is prompted with: a text, if there is nothing else.

    Raises:
        InvalidRequestError: There is sound in it, which models are not sent.
    """
    blocks = [_block(each) for each in prompt]
    texts = [block.text for block in blocks if isinstance(block, TextBlock)]
    if len(texts) == len(blocks):
        return "\n\n".join(texts)
    return blocks


def text_of(prompt: Iterable[PromptBlock]) -> str:
    """Return what a person has typed."""
    return " ".join(each.text for each in prompt if isinstance(each, schema.TextContentBlock))


def _block(said: PromptBlock) -> Block:
    match said:
        case schema.TextContentBlock():
            return TextBlock(said.text)
        case schema.ImageContentBlock():
            return ImageBlock(said.mime_type, said.data)
        case schema.ResourceContentBlock():
            return TextBlock(f"[{said.title or said.name}]({said.uri})")
        case schema.EmbeddedResourceContentBlock():
            return _resource(said.resource)
        case schema.AudioContentBlock():
            raise InvalidRequestError("sound cannot be sent to the model")


def _resource(resource: schema.TextResourceContents | schema.BlobResourceContents) -> Block:
    if isinstance(resource, schema.TextResourceContents):
        return TextBlock(f'<context uri="{resource.uri}">\n{resource.text}\n</context>')
    media_type = resource.mime_type or "application/octet-stream"
    if media_type.startswith("image/"):
        return ImageBlock(media_type, resource.blob)
    return FileBlock(resource.uri.rpartition("/")[2] or resource.uri, media_type, resource.blob)
