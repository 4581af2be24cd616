"""Matplotlib's SVG as a page wants it: no links, no styles, fonts of the reader's own."""

import re
from xml.sax.saxutils import escape

FONTS = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
_FONT = re.compile(r"^(?:(italic) )?(?:(bold|[1-9]00) )?([0-9.]+)px .*$")


def as_svg(text: str, title: str) -> bytes:
    """A strict content security policy refuses styles: they become attributes. What a screen
    reader says is the title."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r"<style\b[^>]*>.*?</style>", "", text, flags=re.S)
    text = re.sub(r' style="([^"]*)"', lambda found: _attributes(found[1]), text)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.S)
    text = re.sub(r">\s+<", "><", text)
    text = re.sub(r"(\d\.\d\d)\d+", r"\1", text)
    head, _, body = text.partition(">")
    size = re.search(r'viewBox="0 0 ([0-9.]+) ([0-9.]+)"', head)
    if size:
        head = re.sub(r' (width|height)="[^"]*"', "", head)
        head += f' width="{size[1]}" height="{size[2]}"'
    head += f' role="img" stroke-linejoin="round" font-family="{FONTS}"'
    return f"{head}><title>{escape(title)}</title>{body}".encode()


def _attributes(style: str) -> str:
    found = []
    for one in style.split(";"):
        name, _, value = (part.strip() for part in one.partition(":"))
        font = _FONT.match(value) if name == "font" else None
        if font:
            found.append(f'font-size="{font[3]}"')
            if font[2]:
                found.append(f'font-weight="{font[2]}"')
        elif name and name not in ("font-family", "font"):
            found.append(f'{name}="{value}"')
    return "".join(f" {one}" for one in found)
