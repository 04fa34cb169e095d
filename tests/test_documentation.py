"""The documentation speaks of files, links, names and messages that exist; `test_documented_commands.py` has the commands."""

import ast
import functools
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / folder / "README.md" for folder in ("android_demo", "benchmarks/arm", "recipes")),
    ]
)
SUFFIXES = (".py", ".kt", ".md", ".json", ".flags", ".c", ".ipynb")
# By programs, or placeholders.
WRITTEN = (
    r"runs/|run\.flags|report|verify|metrics|preprocessing\.json|saved_model/|tensorboard/|assets/|laptop|pixel|a76"
    r"|NAME|FILE|XX|^\."
)


@pytest.fixture(params=PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def page(request) -> pathlib.Path:
    return request.param


@functools.cache
def files() -> tuple[str, ...]:
    """All files of the project, from its root."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        return tuple(str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file() and ".venv" not in path.parts)
    return tuple(name for name in listed.stdout.splitlines() if (ROOT / name).exists())


def anchors(page: pathlib.Path) -> set[str]:
    """Names of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def blocks(page: pathlib.Path, language: str = "") -> list[str]:
    """Fenced blocks of one language, and for "" indented ones too."""
    text = page.read_text()
    indented = re.findall(r"(?:^    \S.*\n)+", re.sub(r"```.*?```", "", text, flags=re.S), re.M) if not language else []
    return [*re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S), *indented]


def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", page.read_text()):
        path, _, anchor = "".join(target).partition("#")
        if path.startswith(("http:", "https:")):
            continue
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), path
        assert not anchor or anchor in anchors(file), f"{path}#{anchor}"


def test_paths_exist(page):
    """A path may leave out folders in front, and stand with … for some in between."""
    for path in re.findall(r"`([\w./…-]+)`", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)):
        if not re.search(WRITTEN, path) and path.endswith((*SUFFIXES, "/")):
            pattern = re.compile(f"(^|/){re.escape(path.removesuffix('/'))}(/|$)".replace("…", ".*"))
            assert any(pattern.search(name) for name in files()), path


def test_python_compiles_and_uses_public_names(page):
    import shufflenet_tf as st

    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "st":
                assert hasattr(st, node.attr), node.attr


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_messages_are_those_of_the_programs():
    """Each message in docs/troubleshooting.md stands in a source file, but for what is filled in."""
    patterns = ("shufflenet_tf/**/*.py", "export/**/*.py", "*.py", "android_demo/*/src/main/**/*.kt", "Makefile")
    paths = [path for pattern in (*patterns, "android_demo/app/src/main/res/values/strings.xml") for path in ROOT.glob(pattern)]
    sources = "\n".join(path.read_text().replace("\\'", "'") for path in paths)
    sources = " ".join(re.sub(r"[\"']\s*\+?\s*\n\s*[rf]*[\"']", "", sources).split())  # literals over several lines
    rows = re.findall(r"^\| `([^`]+)`", (ROOT / "docs/troubleshooting.md").read_text(), re.M)
    assert len(rows) > 30
    for message in rows:
        for piece in (piece.strip(" ():") for piece in message.split("…")):
            assert piece in sources, f"{piece!r} of {message!r}"
