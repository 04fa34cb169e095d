"""Builds and signs the Android app, and runs its screens with real Android classes on the JVM, without a phone."""

import fcntl
import pathlib
import re
import sys
import zipfile

import numpy as np
import pytest
from lite_models import COLOURS, UINT8, colour_model, write
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "android_demo/tools"))

import apk
import app_test
import assemble
import toolchain


@pytest.fixture
def alone():
    """Holds the build lock: tests may run in parallel."""
    folder = assemble.DEMO / "app/target"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def tools(alone):
    """Downloads everything that the build needs."""
    _or_skip(toolchain.require_programs)
    _or_skip(toolchain.build_core, False)
    _or_skip(toolchain.find_files, "-Probolectric")


def _or_skip(step, *arguments) -> None:
    try:
        step(*arguments)
    except toolchain.MissingTool as error:
        pytest.skip(str(error).splitlines()[0])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A uint8 model with labels that recognizes colours."""
    return write(tmp_path_factory.mktemp("model") / "colours.tflite", colour_model("uint8"), UINT8)


def test_core(alone):
    """Runs core's tests: bit-equal to Python's golden tensors, damaged files, ten thousand frames from several threads."""
    _or_skip(toolchain.require_programs, "java", "mvn")
    _or_skip(toolchain.build_core)


@pytest.mark.long
def test_package(tools, model, tmp_path):
    """The signed APK contains app, runtime and model in the right places, and its manifest is as declared."""
    package = tmp_path / "app.apk"
    assemble.assemble(package, [model], tmp_path / "debug.keystore")
    with zipfile.ZipFile(package) as content:
        names = content.namelist()
        assert {"classes.dex", "AndroidManifest.xml", "resources.arsc", f"assets/{model.name}"} <= set(names)
        assert content.read(f"assets/{model.name}") == model.read_bytes()
        assert b"Lio/github/shufflenettf/demo/MainActivity;" in content.read("classes.dex")
        libraries = {name for name in names if name.startswith("lib/arm64-v8a/")}
        assert libraries == {f"lib/arm64-v8a/libtensorflowlite{kind}_jni.so" for kind in ("", "_gpu")}
    assert apk.misaligned(package) == []
    badging = toolchain.run("aapt2", "dump", "badging", package)
    pinned = toolchain.versions()
    assert f"sdkVersion:'{pinned['minSdk']}'" in badging and f"targetSdkVersion:'{pinned['targetSdk']}'" in badging
    assert re.findall(r"uses-permission: name='([\w.]+)'", badging) == ["android.permission.CAMERA"]
    assert "launchable-activity: name='io.github.shufflenettf.demo.MainActivity'" in badging
    assert "application-debuggable" in badging and "locales: '--_--' 'de'" in badging


@pytest.mark.long
def test_screens(tools, model, tmp_path):
    """The top 3 of a photo rotated by EXIF equal Python's for the upright photo."""
    upright = np.empty((60, 48, 3), np.uint8)
    upright[:30] = 150, 120, 100
    upright[30:] = 20, 40, 250
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    Image.fromarray(np.rot90(upright)).save(tmp_path / "photo.jpg", exif=exif, quality=95)
    report = app_test.run_tests(app_test.compile_tests(), model, tmp_path / "photo.jpg", list(COLOURS), None)
    assert re.search(r"OK \(\d\d tests\)", report)


def test_alignment_is_checked(tmp_path):
    with zipfile.ZipFile(tmp_path / "resources.zip", "w") as resources:
        resources.writestr("AndroidManifest.xml", b"manifest")
        resources.writestr("resources.arsc", b"table")
    library = tmp_path / "lib.so"
    library.write_bytes(bytes(1000))
    apk.write(tmp_path / "good.apk", tmp_path / "resources.zip", {"lib/arm64-v8a/a.so": library, "assets/b.tflite": library})
    assert apk.misaligned(tmp_path / "good.apk") == []
    with zipfile.ZipFile(tmp_path / "bad.apk", "w") as bad:
        bad.writestr("x", b"12345")
        bad.write(library, "lib/arm64-v8a/a.so")
        bad.write(library, "assets/b.tflite", zipfile.ZIP_DEFLATED)
    assert apk.misaligned(tmp_path / "bad.apk") == ["lib/arm64-v8a/a.so", "assets/b.tflite"]


def test_missing_model_is_a_sentence(capsys):
    with pytest.raises(SystemExit) as stop:
        assemble.main(["nowhere.tflite"])
    assert stop.value.code == 2
    assert "nowhere.tflite is not a file" in capsys.readouterr().err


def test_missing_program_is_a_sentence(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    assert assemble.main([]) == 1
    assert "java is missing: install JDK 17" in capsys.readouterr().err
