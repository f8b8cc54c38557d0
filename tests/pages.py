"""HTML pages as tests read them."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """Tags, attributes and visible text of a page."""

    VOID = frozenset({"meta", "rect", "line", "circle", "path", "use", "br"})

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.data: list[str] = []
        self.feed(text)
        self.close()
        self.text = " ".join(" ".join(self.data).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open, f"</{tag}> closes nothing"
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "title"):
            self.data.append(data)


class Skeleton(HTMLParser):
    """What a page is made of but its text: tags in order with their attributes, without labels for screen readers and tooltips."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.addresses: set[str] = set()
        self.others: list[str] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.addresses |= {v or "" for k, v in attrs if k in ("href", "src", "srcdoc", "action", "formaction", "xlink:href", "data")}
        if tag in ("title", "span", "details", "summary"):  # evidence is set lighter, and long texts are folded, whatever they hold
            return
        by_length = ("aria-label", "class") if tag in ("th", "td") else ("aria-label",)  # a class says how long the texts of a column are
        self.tags.append((tag, tuple((k, v) for k, v in attrs if k not in by_length)))

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_data(self, data):
        self.text.append(data)

    def handle_comment(self, data):
        self.others.append(data)

    handle_decl = handle_pi = unknown_decl = handle_comment
