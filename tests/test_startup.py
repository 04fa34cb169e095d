"""The programs choose oneDNN's kernels on x86; a user's own process and a user's own choice are left alone."""

import os
import pathlib
import platform
import subprocess
import sys

import pytest

from shufflenet_tf import startup

ROOT = pathlib.Path(__file__).resolve().parents[1]
X86 = platform.machine().lower() in ("x86_64", "amd64")
# Python runs this in every process that has its folder on the path: it tells at the end what TensorFlow runs with.
SITE = """
import atexit, os, sys

def tell():
    if "tensorflow" in sys.modules:
        from tensorflow.python.util import _pywrap_util_port
        sys.stderr.write(f"\\nonednn={_pywrap_util_port.IsMklEnabled()}\\n")

atexit.register(tell)
"""
PROGRAMS = {
    "train_main": ["train_main.py", "--help"],
    "classify": ["-m", "shufflenet_tf.classify", "--help"],
    "weights": ["-m", "shufflenet_tf.weights", "--help"],
    "export": ["-m", "export.tflite", "--help"],
    "verify": ["-mexport.verify", "--help"],
    "qat": ["-m", "export.qat", "--help"],
    "latency": ["-m", "papers.latency", "--help"],
}
OWN = ["-c", "import shufflenet_tf.models"]


def onednn(folder: pathlib.Path, arguments: list[str], value: str | None) -> bool:
    """Whether TensorFlow uses oneDNN in such a process."""
    (folder / "sitecustomize.py").write_text(SITE)
    environment = {key: text for key, text in os.environ.items() if key != "TF_ENABLE_ONEDNN_OPTS"}
    environment |= {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    environment |= {"TF_ENABLE_ONEDNN_OPTS": value} if value else {}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, cwd=ROOT)
    (answer,) = [line for line in done.stderr.splitlines() if line.startswith("onednn=")]
    return answer == "onednn=True"


@pytest.mark.skipif(not X86, reason="on other processors TensorFlow decides")
@pytest.mark.parametrize("program", ["train_main", *(pytest.param(name, marks=pytest.mark.long) for name in [*PROGRAMS][1:])])
def test_programs_turn_onednn_on(program, tmp_path):
    assert onednn(tmp_path, PROGRAMS[program], None)


def test_an_interruption_while_tensorflow_is_loaded_is_one_line():
    script = "import sys; from shufflenet_tf import startup; sys.excepthook = startup._without_traceback(sys.excepthook); "
    for error, said in (("KeyboardInterrupt", "Interrupted.\n"), ("ZeroDivisionError", "ZeroDivisionError\n")):
        done = subprocess.run([sys.executable, "-c", f"{script}raise {error}"], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode and done.stderr.endswith(said) and ("Traceback" in done.stderr) == (error != "KeyboardInterrupt")


def test_without_a_folder_for_temporary_files_notes_are_not_held_back(monkeypatch, capfd):
    def fail(*_, **__):
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr("tempfile.TemporaryFile", fail)
    with startup.held_back():
        os.write(2, b"a note")
    assert capfd.readouterr().err == "a note"


def test_closed_streams_are_opened_to_nothing(tmp_path):
    """Else a file that is opened later takes the place of one, and is written into by whatever prints."""
    script = (
        "import os, sys\n"
        "from shufflenet_tf import startup\n"
        "startup._open_streams()\n"
        f"file = open({str(tmp_path / 'file')!r}, 'wb')\n"
        "os.write(1, b'C++'), os.write(2, b'C++'), print('out'), print('error', file=sys.stderr)\n"
        "file.write(str((file.fileno() > 2, sys.stdin.read())).encode())\n"
    )
    command = ["sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, script]
    assert subprocess.run(command, cwd=ROOT).returncode == 0
    assert (tmp_path / "file").read_text() == "(True, '')"


@pytest.mark.long
def test_a_users_choice_wins(tmp_path):
    assert not onednn(tmp_path, PROGRAMS["train_main"], "0")


@pytest.mark.long
def test_a_users_own_process_is_left_alone(tmp_path):
    plain = onednn(tmp_path, ["-c", "import tensorflow"], None)
    assert onednn(tmp_path, OWN, None) == plain


def run(code: str, tmp_path: pathlib.Path, **environment: str) -> subprocess.CompletedProcess:
    plain = {key: text for key, text in os.environ.items() if not key.startswith(("TF_", "ONEDNN"))}
    command = [sys.executable, "-c", code, str(tmp_path / "model.keras")]
    return subprocess.run(
        command, env=plain | {"PYTHONPATH": str(ROOT)} | environment, capture_output=True, text=True, cwd=tmp_path
    )


@pytest.mark.parametrize("module", ["shufflenet_tf", "shufflenet_tf.errors", "shufflenet_tf.cli", "export"])
def test_an_import_waits_with_tensorflow(module, tmp_path):
    code = f"""
import sys, time
began = time.process_time()
import {module}
assert time.process_time() - began < 0.3 and not {{"tensorflow", "keras", "tf_keras"}} & set(sys.modules)
"""
    done = run(code, tmp_path)
    assert done.returncode == 0 and done.stdout == done.stderr == ""


def test_every_public_name_is_found_where_the_table_says():
    import shufflenet_tf as st

    for name in st.__all__:
        assert getattr(st, name).__name__.rpartition(".")[2] in (name, "registry", "complexity")
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        st.nonsense  # noqa: B018


ORDERS = {
    "ours first": "import shufflenet_tf; import tensorflow as tf; load = tf.keras.models.load_model",
    "tensorflow first": "import tensorflow as tf; import shufflenet_tf; load = tf.keras.models.load_model",
    "ours, then keras": "import shufflenet_tf; import KERAS; load = KERAS.models.load_model",
    "keras, then ours": "import KERAS; import shufflenet_tf; load = KERAS.models.load_model",
    "from tensorflow": "import shufflenet_tf; from tensorflow import keras; load = keras.models.load_model",
    "a part of ours": "from shufflenet_tf import preprocessing; import tensorflow as tf; load = tf.keras.models.load_model",
    "ours alone": "import shufflenet_tf as st; load = st.load",
}


@pytest.fixture(scope="module", params=["keras", pytest.param("tf_keras", marks=pytest.mark.long)])
def generation(request, tmp_path_factory):
    """A generation of Keras, the environment that chooses it, and a folder with a model.keras that it wrote."""
    folder = tmp_path_factory.mktemp(request.param)
    environment = {"TF_USE_LEGACY_KERAS": "1"} if request.param == "tf_keras" else {}
    code = "import sys, shufflenet_tf as st; st.ShuffleNetV2((32, 32, 3), alpha=0.25, classes=2).save(sys.argv[1])"
    if request.param == "keras" and os.environ.get("TF_USE_LEGACY_KERAS") != "1":  # this process's own
        import shufflenet_tf as st

        st.ShuffleNetV2((32, 32, 3), alpha=0.25, classes=2).save(folder / "model.keras")
    else:
        done = run(code, folder, **environment)
        assert done.returncode == 0, done.stderr
    return request.param, environment, folder


# Each order starts a process that loads TensorFlow; test_loading.py has "tensorflow first" too.
@pytest.mark.parametrize("order", [o if o == "ours first" else pytest.param(o, marks=pytest.mark.long) for o in ORDERS])
def test_keras_knows_our_classes_whoever_is_imported_first(generation, order):
    keras, environment, folder = generation
    done = run(f"import sys; {ORDERS[order].replace('KERAS', keras)}; load(sys.argv[1])", folder, **environment)
    assert done.returncode == 0, done.stderr[-2000:]
    if order == "ours alone":
        assert done.stderr == "", "a user's own process gets no notes because of us"


def test_nothing_is_chosen_for_a_users_own_process(tmp_path):
    code = "import os; before = dict(os.environ); import shufflenet_tf as st; st.Preprocessing(); "
    done = run(f"{code}assert dict(os.environ) == before", tmp_path)
    assert done.returncode == 0 and done.stderr == ""
