"""The findings of an audit as one HTML page with the photos in it, which needs no other file and no network."""

import base64
import html
import io
import os
import urllib.parse
import warnings

from PIL import Image

from shufflenet_tf.audit import records
from shufflenet_tf.audit.records import Audit, Finding
from shufflenet_tf.data import decode
from shufflenet_tf.errors import printable
from shufflenet_tf.files import atomic_path

MOST = 36  # photos that are shown of a kind; the CSV file has all
_THUMBNAIL, _QUALITY = 168, 72

# Of each kind: heading, and what it means.
_SECTIONS = {
    records.COPY_ACROSS: (
        "Copies on both sides of the split",
        "A network knows these photos from its training. Training runs leave them out of the test.",
    ),
    records.COPY_IN_CLASSES: ("Copies in two classes", "One picture can have one class only: remove it from the other."),
    records.COPY: ("Copies", "They teach nothing new. Training runs keep them on one side of the split."),
    records.SCENE: (
        "Shots of the same scene",
        "Not copies, but taken within seconds of each other. If they are on both sides of the split, the test is too easy.",
    ),
    records.WRONG_CLASS: (
        "Probably in the wrong class",
        "By all other photos, these look like another class. Move those that are wrong; the rest are hard photos.",
    ),
    records.TURNED: ("Perhaps turned", "Relative to most photos here. Turn them, or leave them if they were taken that way."),
    records.BLURRED: ("Blurred", "Much less sharp than the other photos, also in their sharpest parts."),
    records.DARK: ("Dark", "Hardly anything can be seen."),
    records.BRIGHT: ("Overexposed", "Hardly anything can be seen."),
    records.EMPTY: ("Of one colour", "There is nothing on them."),
    records.TINY: ("Tiny", "They are enlarged for the network."),
    records.UNREADABLE: ("Unreadable files", "Training skips them."),
}
_STYLE = """
:root { color-scheme: light dark; --ink: #222; --quiet: #666; --line: #ddd; --back: #fff; --bar: #0072B2; --warn: #D55E00 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --quiet: #a0a0a0; --line: #444; --back: #1c1c1c; --bar: #56B4E9; --warn: #E69F00 }
}
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--back) }
body { margin: 2rem auto; max-width: 1240px; padding: 0 1rem }
h1 { margin-bottom: .2rem }
h2 { margin: 2.2rem 0 .2rem }
p { margin: .3rem 0 .8rem; max-width: 52rem }
a { color: var(--bar) }
nav { display: flex; flex-wrap: wrap; gap: .5rem; margin: 1rem 0 }
nav a { border: 1px solid var(--line); border-radius: 6px; padding: .3rem .7rem; text-decoration: none; color: inherit }
nav b, .warn { color: var(--warn) }
.quiet { color: var(--quiet) }
.cards { display: flex; flex-wrap: wrap; gap: .8rem }
figure { margin: 0; padding: .5rem; border: 1px solid var(--line); border-radius: 6px; width: 168px; overflow-wrap: anywhere }
figure.pair { width: 344px }
figure div { display: flex; gap: 8px; align-items: end; min-height: 110px }
figure img { max-width: 168px; max-height: 168px; display: block }
figcaption { font-size: 13px; margin-top: .4rem }
table { border-collapse: collapse }
td, th { text-align: left; padding: .25rem 1rem .25rem 0; border-bottom: 1px solid var(--line) }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
.bar { display: inline-block; height: .7em; background: var(--bar) }
"""


def write_page(audit: Audit, path: str | os.PathLike) -> None:
    """Writes the page; a photo that can't be read any more is named without its picture."""
    page = _Page(audit)
    parts = [page.head(), page.classes(), *(page.section(kind) for kind in records.KINDS), page.confusions()]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(part for part in parts if part) + "\n</body></html>\n", encoding="utf-8")


class _Page:
    def __init__(self, audit: Audit):
        self._audit = audit

    def head(self) -> str:
        audit = self._audit
        name = html.escape(printable(audit.path.resolve().name))
        links = [
            f'<a href="#{_anchor(kind)}"><b>{len(found):,}</b> {html.escape(_SECTIONS[kind][0].lower())}</a>'
            for kind in records.KINDS
            if (found := audit.of_kind(kind))
        ]
        if audit.confusions:
            links.append(f'<a href="#alike"><b>{len(audit.confusions):,}</b> pairs of classes that look alike</a>')
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in audit.notes)
        found = f"<nav>{''.join(links)}</nav>" if links else "<p>Nothing was found.</p>"
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Audit of {name}</title>'
            f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>\n<h1>Audit of {name}</h1>'
            f"<p>{len(audit.labels):,} photos in {len(audit.classes):,} classes. Nothing was deleted or changed.</p>"
            f'{found}<p class="quiet">Classes were told apart by {html.escape(printable(audit.seen_by))}.</p>{notes}'
        )

    def section(self, kind: str) -> str:
        findings = self._audit.of_kind(kind)
        if not findings:
            return ""
        heading, meaning = _SECTIONS[kind]
        more = f" The worst {MOST} of {len(findings):,}; audit.csv has all." if len(findings) > MOST else ""
        cards = "".join(self._card(finding) for finding in findings[:MOST])
        return (
            f'<h2 id="{_anchor(kind)}">{html.escape(heading)}: {len(findings):,}</h2><p>{html.escape(meaning + more)}</p>'
            f'<div class="cards">{cards}</div>'
        )

    def _card(self, finding: Finding) -> str:
        photos = [finding.photo, *([finding.other] if finding.other else [])]
        pictures = "" if finding.kind == records.UNREADABLE else f"<div>{''.join(map(self._picture, photos))}</div>"
        names = "<br>".join(f"{html.escape(self._name(photo))}" for photo in photos)
        return (
            f'<figure class="{"pair" if finding.other else "single"}">{pictures}'
            f"<figcaption><b>{html.escape(finding.text)}</b><br>{names}</figcaption></figure>"
        )

    def _name(self, photo: str) -> str:
        return printable(os.path.relpath(photo, self._audit.path))

    def _picture(self, photo: str) -> str:
        address = "file://" + urllib.parse.quote(os.fsencode(os.path.abspath(photo)))
        source = _thumbnail(photo)
        return f'<a href="{address}"><img alt="" src="{source}"></a>' if source else ""

    def classes(self) -> str:
        audit = self._audit
        sides = list(audit.classes[0].photos)
        heads = "".join(f'<th class="number">{side or "photos"}</th>' for side in sides)
        rows = []
        for c in audit.classes:
            numbers = "".join(f'<td class="number">{c.photos.get(side, 0):,}</td>' for side in sides)
            share = ""
            if c.recognized is not None:
                share = f'<span class="bar" style="width:{c.recognized * 8:.2f}em"></span> {c.recognized:.0%}'
            remark = f'<td class="warn">{html.escape(c.remark)}</td>'
            rows.append(f"<tr><td>{html.escape(c.label)}</td>{numbers}<td>{share}</td>{remark}</tr>")
        return (
            "<h2>Classes</h2><p>How many photos look like their class, judged by all other photos.</p>"
            f"<table><tr><th>class</th>{heads}<th>looks like its class</th><th></th></tr>{''.join(rows)}</table>"
        )

    def confusions(self) -> str:
        if not self._audit.confusions:
            return ""
        rows = "".join(
            f"<tr><td>{html.escape(c.first)}</td><td>{html.escape(c.second)}</td>"
            f'<td class="number">{c.first_as_second:,}</td><td class="number">{c.second_as_first:,}</td></tr>'
            for c in self._audit.confusions
        )
        return (
            '<h2 id="alike">Classes that look alike</h2><p>More photos, or photos from nearer, help most here. '
            "If two classes mean the same, put them into one folder.</p><table><tr><th>class</th><th>and class</th>"
            f"<th>first looks like second</th><th>second looks like first</th></tr>{rows}</table>"
        )


def _anchor(kind: str) -> str:
    return "".join(character if character.isalpha() else "-" for character in kind)


def _thumbnail(photo: str) -> str:
    """The address of a small picture that is in the address itself; "": it can't be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = decode.examine_closely(photo, _THUMBNAIL).image
    except (decode.UndecodableError, OSError):
        return ""
    image.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    image.convert("RGB").save(content, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()
