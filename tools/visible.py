"""Text that shows all that is in it: nothing that hides, and nothing that turns the order of what
stands beside it, so that who approves something reads what it is."""

_HIDDEN = (
    *range(0x20), *range(0x7F, 0xA0), 0xAD, 0x61C, 0x180E, 0x200B, 0x200E, 0x200F,
    *range(0x2028, 0x202F), *range(0x2060, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFC),
    *range(0xE0000, 0xE0080),
)  # fmt: skip
_SHOWN = {code: chr(code).encode("unicode_escape").decode() for code in _HIDDEN}
for _space in "\n\r\t":
    del _SHOWN[ord(_space)]


def visible(text: str) -> str:
    """The same with `\\u202e` and its like spelled out."""
    return text if text.isprintable() else text.translate(_SHOWN)
