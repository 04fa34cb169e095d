"""BUILD agrees with the imports: each file is in one target, and a library's deps are exactly what its files import."""

import ast
import functools
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDERS = ("android_demo", "benchmarks", "export", "papers", "shufflenet_tf", "tests")
ROOTS = {("tests",), ("android_demo", "tools")}  # folders that are on the path of imports
DISTRIBUTIONS = {"PIL": "pillow", "absl": "absl_py"}
SHARED = "tests/bazel/run_pytest.py"  # the main file of every test, so of many targets
# Benchmarks measure these where they happen to be installed.
RIVALS = {"MNN", "_tools", "ncnn", "nncf", "onnx", "onnxruntime", "openvino", "pnnx", "torch", "torchvision"}
UNBUILT = {"setup.py"}  # pip's, not Bazel's
HOOKS = {("shufflenet_tf/startup.py", "shufflenet_tf.models")}  # imported when TensorFlow is, if it is there


class BuildFile:
    """The targets of BUILD: Starlark is Python but for its built-in functions, which this class supplies."""

    def __init__(self, text: str):
        self.targets: dict[str, dict] = {}
        ignored = dict.fromkeys(("load", "package", "licenses", "exports_files"), lambda *args, **kwargs: None)
        rules = {rule: functools.partial(self._add, rule) for rule in ("py_library", "py_binary", "py_test", "filegroup")}
        exec(compile(text, "BUILD", "exec"), {**ignored, **rules, "glob": _glob})

    def _add(self, rule: str, *, name: str, **attributes) -> None:
        assert name not in self.targets, f"BUILD has two targets named {name}."
        self.targets[name] = {"rule": rule, **attributes}

    def owners(self, path: str) -> list[str]:
        return [name for name, target in self.targets.items() if path in target["srcs"]]


def _glob(patterns: list[str], exclude: tuple[str, ...] = (), allow_empty: bool = False) -> list[str]:
    found = {path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()}
    found -= {path for pattern in exclude for path in ROOT.glob(pattern)}
    assert found or allow_empty, f"BUILD's glob({patterns}) finds nothing."
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


@functools.cache
def build() -> BuildFile:
    return BuildFile((ROOT / "BUILD").read_text(encoding="utf-8"))


@functools.cache
def modules() -> dict[str, str]:
    """Returns the path of each module by the name under which it's imported."""
    paths = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    paths += sorted(path for path in ROOT.glob("*.py") if path.name not in UNBUILT)
    result = {}
    for path in paths:
        parts = path.relative_to(ROOT).with_suffix("").parts
        for root in ROOTS:
            if parts[: len(root)] == root:
                parts = parts[len(root) :]
        result[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.relative_to(ROOT).as_posix()
    return result


@functools.cache
def imports(path: str) -> tuple[str, ...]:
    """Returns the dotted names that a file imports, at its top or later."""
    found = []
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: import with the module's full name, not relatively."
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "importlib.import_module":
            names = (argument.value for argument in node.args if isinstance(argument, ast.Constant))
            found += [name for name in names if (path, name) not in HOOKS]
    return tuple(found)


@functools.cache
def imported_label(name: str) -> str | None:
    """Returns the label of the target that an import needs; None: none."""
    module = name
    while module and module not in modules():
        module = module.rpartition(".")[0]
    if module:
        return ":" + (build().owners(modules()[module]) or ["?"])[0]
    top = name.partition(".")[0]
    return None if top in sys.stdlib_module_names | RIVALS else f"@pypi//{DISTRIBUTIONS.get(top, top)}"


def test_every_python_file_belongs_to_exactly_one_target():
    owners = {path: build().owners(path) for path in modules().values() if path != SHARED}
    missing = [path for path, names in owners.items() if not names]
    assert not missing, f"Add {', '.join(missing)} to the srcs of a target in BUILD, or give it a py_library of its own."
    assert not {path: names for path, names in owners.items() if len(names) > 1}, "A file belongs into one target only."


def test_every_source_exists():
    for name, target in build().targets.items():
        for source in target["srcs"]:
            exists = source[1:] in build().targets if source.startswith(":") else (ROOT / source).is_file()
            assert exists, f"Remove {source} from the srcs of {name} in BUILD: there is no such file or target."


def libraries() -> list[str]:
    """Returns the targets whose deps are listed one by one; programs and tests depend on everything."""
    return [name for name, target in build().targets.items() if target["rule"] == "py_library" and name != "testing"]


@functools.cache
def needed(name: str) -> dict[str, str]:
    """Returns the labels that a target's files import, each with an example."""
    files = [source for source in build().targets[name]["srcs"] if source in modules().values()]
    examples = {imported_label(imported): f"{path} imports {imported}" for path in files for imported in imports(path)}
    return {label: example for label, example in examples.items() if label not in (None, f":{name}")}


def test_every_import_is_declared():
    missing = [
        f'Add "{label}" to the deps of {name} in BUILD: {example}.'
        for name, target in build().targets.items()
        for label, example in needed(name).items()
        if label not in target.get("deps", ())
    ]
    assert not missing, "\n".join(missing)


def test_libraries_declare_what_they_import_and_nothing_else():
    spare = [
        f'Remove "{label}" from the deps of {name} in BUILD: it does not import that.'
        for name in libraries()
        for label in build().targets[name].get("deps", ())
        if label not in needed(name)
    ]
    assert not spare, "\n".join(spare)


def test_every_dependency_exists_and_none_is_circular():
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name in build().targets, f"BUILD: {above[-1]} depends on :{name}, which isn't there."
        assert name not in above, f"BUILD has a circle: {' -> '.join((*above, name))}."
        if name not in done:
            for label in build().targets[name].get("deps", ()):
                if label.startswith(":"):
                    visit(label[1:], (*above, name))
            done.add(name)

    for name in build().targets:
        visit(name, ())


def test_third_party_packages_have_a_pinned_version():
    pinned = {
        line.partition("==")[0].replace("-", "_")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    }
    for name, target in build().targets.items():
        for label in target.get("deps", ()):
            package = label.removeprefix("@pypi//")
            assert label.startswith(":") or package in pinned, f"{name} depends on {label}, which constraints.txt doesn't pin."
