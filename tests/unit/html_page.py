"""Read a page of HTML as a browser does; hold a text that must never become markup."""

from html.parser import HTMLParser

EVIL = '<script>alert("x")</script>&amp;\'"<img src=x onerror=y>\x1b[31m'


class Page(HTMLParser):
    """The tags, attributes and words of a page; `open` is empty when every tag was closed in order."""

    VOID = {"meta", "br", "img", "link", "input"}

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words, self.open = [], [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data
