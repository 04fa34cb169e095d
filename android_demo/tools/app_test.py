"""Runs the app's own tests on the JVM, with Android's classes and drawing from Robolectric and LiteRT in Python.

  python android_demo/tools/app_test.py model.tflite photo.jpg banana "a second class" "a third class"
  python android_demo/tools/app_test.py model.tflite photo.jpg banana --pictures=android_demo/screenshots

The model takes uint8 pixels; the classes are those that it finds likeliest in the photo, above 5 %.
"""

import argparse
import shutil
import sys
from pathlib import Path

import apk
from assemble import JAVA, android_jar, compile_classes, join, kotlinc, link_resources
from PIL import Image
from toolchain import DEMO, BuildError, build_core, class_path, find_files, require_programs, run, unpack

_TARGET = DEMO / "app/target"
_TEST = DEMO / "app/src/jvmTest"
_TEST_APK = _TARGET / "test.apk"  # resources and models, where Robolectric looks for both
_CLASSES = ("MainActivityTest", "SettingsActivityTest", "LiveTest", "PreviewGeometryTest")
_TOOLS = ("android-all-", "kotlin-compiler-", "r8-", "apksig-")


def compile_tests() -> str:
    """Compiles app and tests; returns the class path that runs them."""
    _, java = link_resources()
    app, _ = compile_classes(java)
    found = class_path("test-classpath")
    archives = [
        folder / "classes.jar" for folder in unpack([path for path in found if path.suffix == ".aar"], _TARGET / "test-aar")
    ]
    jars = [path for path in found if path.suffix == ".jar" and not path.name.startswith(_TOOLS)]
    classes = _TARGET / "test-classes"
    shutil.rmtree(classes, ignore_errors=True)
    shutil.copytree(_TEST / "resources", classes)
    run("javac", "-nowarn", "-d", classes, "-cp", join(archives), *(_TEST / "java").rglob("*.java"))
    path = [classes, *app, *archives, *jars]
    kotlinc(_TEST / "kotlin", classes, [*path, android_jar()], f"-Xfriend-paths={app[0]}", "-jvm-target", "17")
    config = classes / "com/android/tools/test_config.properties"
    config.parent.mkdir(parents=True)
    config.write_text(
        f"android_merged_manifest={_TARGET / 'AndroidManifest.xml'}\nandroid_resource_apk={_TEST_APK}\n"
        "android_custom_package=io.github.shufflenettf.demo\n"
    )
    return join([*path, _instrumented()])  # only to look at the tests with: they run in Robolectric's own loader


def _instrumented() -> Path:
    return next(path for path in class_path("test-classpath") if "instrumented" in path.name)


def run_tests(path: str, model: Path, photo: Path, expected: list[str], pictures: Path | None) -> str:
    """Runs the tests with a model and a photo whose likeliest classes are expected; returns their report.

    Raises:
      toolchain.BuildError: a test has failed; with the report.
    """
    damaged = _TARGET / "model_damaged.tflite"
    damaged.write_bytes(model.read_bytes()[:1000])
    apk.write(_TEST_APK, _TARGET / "res.apk", {"assets/model.tflite": model, "assets/model_damaged.tflite": damaged})
    properties = {
        "interpreter": f"{sys.executable} {DEMO / 'tools/interpret.py'}",
        "photo": photo.resolve(),
        "expected": "|".join(expected),
        "robolectric.offline": "true",
        "robolectric.dependency.dir": _instrumented().parent,
    }
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
        properties["pictures"] = pictures.resolve()
    settings = [f"-D{name}={value}" for name, value in properties.items()]
    opened = [f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in ("io", "lang", "nio", "util")]  # Android's own
    names = [f"io.github.shufflenettf.demo.{name}" for name in _CLASSES]
    return run(*JAVA, *opened, *settings, "-cp", path, "org.junit.runner.JUnitCore", *names)


def _shrink(picture: Path) -> None:
    """Makes a screenshot small enough for a README: half the size, 256 colours."""
    image = Image.open(picture).convert("RGB")
    image = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
    image.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(picture, optimize=True)


def main(arguments: list[str]) -> int:
    """Runs the program; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("photo", type=Path)
    parser.add_argument("expected", nargs="+", help="the photo's classes, the likeliest first")
    parser.add_argument("--pictures", type=Path, help="folder for screenshots")
    options = parser.parse_args(arguments)
    try:
        require_programs()
        build_core(test=False)
        find_files("-Probolectric")
        print(run_tests(compile_tests(), options.model, options.photo, options.expected, options.pictures))
        for picture in options.pictures.glob("*.png") if options.pictures else []:
            _shrink(picture)
    except BuildError as error:
        print(f"app_test: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
