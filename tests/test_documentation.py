"""The documentation speaks of files, links, commands, flags, names and messages that exist."""

import ast
import functools
import pathlib
import re
import shlex
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
COMMON = {"flagfile", "help"}  # flags of every program
SUFFIXES = (".py", ".kt", ".md", ".json", ".flags", ".c", ".ipynb")
# By programs, or placeholders.
WRITTEN = r"runs/|report|verify|metrics|preprocessing\.json|saved_model/|tensorboard/|assets/|laptop|pixel|a76|NAME|FILE|XX|^\."


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


def commands(page: pathlib.Path) -> list[list[str]]:
    """Commands in blocks and in text that start a Python program, as words."""
    lines = [line for block in blocks(page) for line in block.splitlines()]
    lines += re.findall(r"`((?:\.venv/bin/)?python [^`]+)`", page.read_text())
    lines += [f"python train_main.py {line}" for line in re.findall(r"`(--flagfile=[^`]+)`", page.read_text())]
    starts = ("python ", ".venv/bin/python ")
    found = [shlex.split(line.strip(), comments=True) for line in lines if line.strip().startswith(starts)]
    return [words[2:] if words[1] == "-m" else words[1:] for words in found]


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


@functools.cache
def flags_of(program: str) -> frozenset[str]:
    """Flags that the sources of a program define: a script, a module, or a package that is one."""
    path = ROOT / (program if program.endswith(".py") else program.replace(".", "/"))
    if path.is_dir():
        return frozenset(COMMON).union(*(_defined(file) for file in path.glob("*.py")))
    return frozenset(COMMON | _defined(path if path.suffix else path.with_suffix(".py")))


def _defined(file: pathlib.Path) -> set[str]:
    return _in_tree(ast.parse(file.read_text()))


@functools.cache
def _helpers() -> dict[str, ast.FunctionDef]:
    """Functions that define flags for several programs, by name."""
    paths = [path for folder in ("shufflenet_tf", "export") for path in (ROOT / folder).rglob("*.py")]
    nodes = [node for path in paths if "def define" in path.read_text() for node in ast.parse(path.read_text()).body]
    return {node.name: node for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith("define")}


@functools.cache
def _fields(record: str) -> frozenset[str]:
    """Fields of a dataclass, each of which is a flag."""
    paths = [path for folder in ("shufflenet_tf", "export") for path in (ROOT / folder).rglob("*.py")]
    trees = [ast.parse(text) for path in paths if f"class {record}" in (text := path.read_text())]
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    fields = [line for node in classes if node.name == record for line in node.body if isinstance(line, ast.AnnAssign)]
    return frozenset(field.target.id for field in fields)


def _in_tree(tree: ast.AST) -> set[str]:
    """Flags that a piece of source defines, by absl, by argparse, or by one of these functions."""
    found: set[str] = set()
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        first = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else ""
        if name.startswith("DEFINE_") and name != "DEFINE_alias":
            found |= {first} | {k.value.value for k in call.keywords if k.arg == "short_name"}
        elif name == "add_argument" and str(first).startswith("--"):
            found.add(first.removeprefix("--"))
        elif ast.unparse(call.func) == "options.define":
            found |= _fields(ast.unparse(call.args[1]).rpartition(".")[2])
        elif name in _helpers():
            found |= _in_tree(_helpers()[name])
    return found


def test_commands_use_flags_that_programs_have(page):
    for program, *words in commands(page):
        if program == "-c" or not program[0].isalpha() or program.startswith(("tensorboard", "pip", "venv", "pytest")):
            continue
        assert (ROOT / program).exists() or any(
            (ROOT / program.replace(".", "/")).with_suffix(suffix).exists() for suffix in ("", ".py")
        ), program
        for word in words:
            name = word.lstrip("[").partition("=")[0]
            if name.startswith("--"):
                flag = name.removeprefix("--").rstrip("]")
                assert {flag, flag.removeprefix("no")} & flags_of(program), f"{program} has no {name}"


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
