"""The text of --help, which fits the terminal."""

import shutil
import textwrap

from absl import flags

_WIDTH, _LEAST, _INDENT = 110, 60, 24


def text(description: str, values: flags.FlagValues) -> str:
    """Returns what --help shows: the description, then the flags in groups; in a narrow terminal, in shorter lines.

    Args:
      description: paragraphs; indented lines, such as commands, stay as they are.
      values: the program's flags, from `cli.flag_values`.
    """
    columns = shutil.get_terminal_size((_WIDTH, 0)).columns
    width = min(max(_LEAST, columns - 1), _WIDTH)
    paragraphs = description.strip()
    if columns <= max(map(len, paragraphs.splitlines()), default=0):
        paragraphs = _narrowed(paragraphs, width)
    return f"{paragraphs}\n\n{_of_flags(values, width)}"


def listed(values: flags.FlagValues) -> list[flags.Flag]:
    """Returns the flags that --help shows, in the order of their definitions, without aliases and with --help last."""
    shown = [values[name] for name in values if values[name].name == name]
    aliases = [flag for flag in shown if isinstance(flag.help, str) and flag.help.startswith("Alias for --")]
    shown = [flag for flag in shown if flag not in aliases and flag.name != "help"]
    return [*dict.fromkeys(shown), values["help"]]


def _narrowed(paragraphs: str, width: int) -> str:
    lines, words = [], []

    def end_paragraph() -> None:
        lines.extend(textwrap.wrap(" ".join(words), width, break_long_words=False, break_on_hyphens=False))
        words.clear()

    for line in paragraphs.splitlines():
        if line.strip() and not line.startswith(" "):
            words.append(line.strip())
            continue
        end_paragraph()
        lines.append(line)
    end_paragraph()
    return "\n".join(lines)


def _of_flags(values: flags.FlagValues, width: int) -> str:
    headings = values.__dict__["headings"]
    lines = [] if 1 in headings else ["Flags:"]

    def add(name: str, about: str) -> None:
        wrapped = textwrap.wrap(about, width - _INDENT, break_on_hyphens=False)
        if len(name) >= _INDENT:
            lines.append(name)
            name = ""
        lines.extend([f"{name:{_INDENT}}{wrapped[0]}", *(f"{'':{_INDENT}}{line}" for line in wrapped[1:])])

    for position, flag in enumerate(listed(values), 1):
        if position in headings:
            lines += ["", f"{headings[position]}:"] if lines else [f"{headings[position]}:"]
        name = f"  --{'[no]' if flag.boolean and flag.default else ''}{flag.name}{'' if flag.boolean else '='}"
        add(name, f"{flag.help}{_default(flag)}")
    add("  --flagfile=", "Read flags from a file, one per line; later flags override them.")
    return "\n".join(lines)


def _default(flag: flags.Flag) -> str:
    if flag.default in (None, False, "", []):
        return ""
    default = ",".join(flag.default) if isinstance(flag.default, list) else flag.default
    return " Default: on." if flag.boolean else f" Default: {default}."
