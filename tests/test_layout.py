"""Imports point down only: no cycles between the files and folders of a package, and nothing imports what is built on it."""

import ast
import collections
import functools
import itertools
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
# From the bottom to the top: none imports one to its right.
PACKAGES = ("shufflenet_tf", "export", "papers", "benchmarks")
PRODUCT = ("shufflenet_tf", "export", "papers", "android_demo/tools", "train_main.py")
MAX_FILE, MAX_FUNCTION = 300, 60  # lines


@functools.cache
def modules() -> dict[str, pathlib.Path]:
    """Returns the path of each module of the packages by its dotted name."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {_name(path): path for path in paths}


def _name(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def imports(path: pathlib.Path) -> tuple[str, ...]:
    """Returns the dotted names of the project's modules that a file imports, at its top or later."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            while name and name not in modules():
                name = name.rpartition(".")[0]
            if name:
                found.append(name)
    return tuple(found)


def siblings(importer: str, imported: str) -> tuple[str, str, str]:
    """Returns the nearest common package, and which of its children import and are imported; "": the package itself."""
    a, b = importer.split("."), imported.split(".")
    shared = 0
    while shared < min(len(a), len(b)) and a[shared] == b[shared]:
        shared += 1
    return ".".join(a[:shared]), ".".join(a[shared : shared + 1]), ".".join(b[shared : shared + 1])


def edges(package: str) -> dict[str, dict[str, str]]:
    """Returns which children of a package import which others, each with an example; commands are on top of all."""
    result = collections.defaultdict(dict)
    for name, path in modules().items():
        if not name.endswith("__main__"):
            for imported in imports(path):
                common, a, b = siblings(name, imported)
                if common == package and a != b:
                    result[a][b] = f"{name} imports {imported}"
    return result


@pytest.mark.parametrize("package", sorted({"", *(name for name, path in modules().items() if path.name == "__init__.py")}))
def test_no_cycle_among_the_children_of_a_package(package):
    graph, done = edges(package), set()

    def visit(child: str, above: tuple[str, ...]) -> None:
        if child in above:
            cycle = (*above[above.index(child) :], child)
            steps = [graph[a][b] for a, b in itertools.pairwise(cycle)]
            pytest.fail(f"{package} has a cycle: {'; '.join(steps)}", pytrace=False)
        if child not in done:
            for other in graph.get(child, ()):
                visit(other, (*above, child))
            done.add(child)

    for child in sorted(graph):
        visit(child, ())


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_imports_what_is_built_on_it(package):
    above = PACKAGES[PACKAGES.index(package) + 1 :]
    wrong = [
        f"{name} imports {imported}"
        for name, path in modules().items()
        if name.split(".")[0] == package
        for imported in imports(path)
        if imported.split(".")[0] in above
    ]
    assert not wrong


def product_files() -> list[pathlib.Path]:
    paths = [ROOT / path for path in PRODUCT]
    return sorted(file for path in paths for file in ([path] if path.is_file() else path.rglob("*.py")))


def test_no_product_file_is_long():
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in product_files()}
    assert not {path: lines for path, lines in lengths.items() if lines > MAX_FILE}


def test_no_product_function_is_long():
    long = {}
    for path in product_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = node.end_lineno - node.lineno + 1
                if lines > MAX_FUNCTION:
                    long[f"{path.relative_to(ROOT)}:{node.name}"] = lines
    assert not long
