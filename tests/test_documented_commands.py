"""The commands in README.md and docs/ exist: their programs, their flags, and the files that they are given."""

import importlib
import importlib.util
import pathlib
import re
import shlex

import pytest
from absl import flags
from absl.testing import flagsaver

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += [ROOT / name / "README.md" for name in ("android_demo", "benchmarks/arm", "recipes")]
PYTHON = re.compile(r"(\S*/)?python3?(\.\d+)?$")
PLACEHOLDER = re.compile(r"[A-Z][A-Z_]+\b|…|\.\.\.|<\w+>")  # PATH, FILE: what the reader fills in
TARGETS = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def commands(page: pathlib.Path) -> list[str]:
    """Returns the commands in a page's blocks of code, and those within its sentences."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:|sh|bash|console|shell)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    parts = [part for line in lines for part in re.split(r"\s+(?:&&|\|\||;)\s+|;\s+", line.strip().removeprefix("$ "))]
    return [part for part in parts if words(part)]


def words(command: str) -> list[str]:
    """Returns the words of a command of ours, without variables before it and redirections behind it; []: no such command."""
    try:
        found = shlex.split(command, comments=True)
    except ValueError:  # a sentence with an apostrophe
        return []
    while found and re.match(r"[A-Z_]+=", found[0]):
        del found[0]
    found = found[: next((i for i, word in enumerate(found) if word in ("|", ">", ">>", "2>&1")), len(found))]
    program = found[0] if found else ""
    is_ours = program == "make" or program.startswith("shufflenet-") or (PYTHON.match(program) and len(found) > 1)
    return found if is_ours else []


def program_of(found: list[str]) -> tuple[str | None, list[str]]:
    """Returns the module that a command runs and its arguments; None: one of another project, or code in the command."""
    if found[0].startswith("shufflenet-"):
        entries = dict(re.findall(r'"([\w-]+)": "([\w.]+)"', (ROOT / "setup.py").read_text(encoding="utf-8")))
        name = found[0].removeprefix("shufflenet-")
        assert name in entries, f"setup.py installs no {found[0]}"
        return entries[name], found[1:]
    if found[1] == "-m":
        path = ROOT / found[2].replace(".", "/")
        if not (ROOT / found[2].split(".")[0]).exists():
            return None, []
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), f"there is no program {found[2]}"
        return found[2], found[3:]
    if not found[1].endswith(".py"):
        return None, []
    if PLACEHOLDER.search(found[1]):
        return None, []
    assert (ROOT / found[1]).exists(), f"there is no file {found[1]}"
    return found[1].removesuffix(".py").replace("/", "."), found[2:]


def check(module: str, arguments: list[str]) -> None:
    """Checks flags by the program's own parser, but for values that a reader fills in."""
    path = ROOT / module.removesuffix(".__main__").replace(".", "/")
    path = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    if "--" in arguments:  # what follows are flags of train_main.py
        split = arguments.index("--")
        check("train_main", arguments[split + 1 :])
        arguments = arguments[:split]
    given = [word for word in arguments if word.startswith("-") and word.strip("-")]
    if not re.search(r"^FLAGS = ", (source := path.read_text(encoding="utf-8")), re.MULTILINE):
        for word in given:
            assert f'"{word.partition("=")[0]}"' in source, f"{module} has no {word}"
        return
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    values = importlib.import_module(name).FLAGS
    kept = [word for word in given if not PLACEHOLDER.search(word.partition("=")[2]) and word not in ("-o", "--help")]
    for word in given:
        flag = re.sub(r"^--?(no(?=\w))?", "", word.partition("=")[0])
        full = word.lstrip("-").partition("=")[0]
        name = full if full in values else flag
        assert name in values or name in ("flagfile", "helpfull", "o"), f"{module} has no {word}"
        assert name not in values or "Alias" not in type(values[name]).__name__, f"{word} is an old spelling"
    saved = flagsaver.save_flag_values(values)
    try:
        values([module, *kept])
    except flags.Error as error:
        pytest.fail(f"{module}: {error}", pytrace=False)
    finally:
        flagsaver.restore_flag_values(saved, values)


@pytest.mark.parametrize("page", [page for page in PAGES if page.exists()], ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist_and_take_their_flags(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    wrong = []
    for command in commands(page):
        found = words(command)
        try:
            if found[0] == "make":
                goals = [word for word in found[1:] if "=" not in word and not word.startswith("-")]
                assert set(goals) <= set(TARGETS), f"the Makefile has no {goals}"
            else:
                module, arguments = program_of(found)
                if module:
                    check(module, arguments)
        except (AssertionError, pytest.fail.Exception) as error:
            wrong.append(f"{command}\n    {str(error).splitlines()[0]}")
    assert not wrong, "\n".join(wrong)


def test_the_readme_has_commands():
    assert len(commands(ROOT / "README.md")) > 10
