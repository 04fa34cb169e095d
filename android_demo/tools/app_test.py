"""Runs the app's tests on the JVM: Robolectric provides Android's classes and drawing, LiteRT in Python runs the model.

  python android_demo/tools/app_test.py model.tflite photo.jpg banana "a second class" "a third class"
  python android_demo/tools/app_test.py model.tflite photo.jpg banana --pictures=android_demo/screenshots

The model takes uint8 pixels; the classes are its most likely ones for the photo, above 5 %.
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
_TEST_APK = _TARGET / "test.apk"  # resources and models, for Robolectric
_CLASSES = ("MainActivityTest", "SettingsActivityTest", "LiveTest", "PreviewGeometryTest")
_TOOLS = ("android-all-", "kotlin-compiler-", "r8-", "apksig-")


def compile_tests() -> str:
    """Compiles app and tests; returns the class path to run them."""
    _, java = link_resources()
    app, _ = compile_classes(java)
    dependencies = class_path("test-classpath")
    archives = [
        folder / "classes.jar"
        for folder in unpack([path for path in dependencies if path.suffix == ".aar"], _TARGET / "test-aar")
    ]
    jars = [path for path in dependencies if path.suffix == ".jar" and not path.name.startswith(_TOOLS)]
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
    return join([*path, _instrumented()])  # only to discover the tests: Robolectric's class loader runs them


def _instrumented() -> Path:
    return next(path for path in class_path("test-classpath") if "instrumented" in path.name)


def run_tests(path: str, model: Path, photo: Path, expected: list[str], pictures: Path | None) -> str:
    """Runs the tests with a model, a photo and its expected classes, most likely first; returns the report.

    Raises:
      toolchain.BuildError: a test failed; with the report.
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
    opened = [
        f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in ("io", "lang", "nio", "util")
    ]  # Robolectric needs these
    names = [f"io.github.shufflenettf.demo.{name}" for name in _CLASSES]
    return run(*JAVA, *opened, *settings, "-cp", path, "org.junit.runner.JUnitCore", *names)


def _shrink(picture: Path) -> None:
    """Shrinks a screenshot for the README: half the size, 256 colours."""
    image = Image.open(picture).convert("RGB")
    image = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
    image.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(picture, optimize=True)


def main(arguments: list[str]) -> int:
    """Runs the program; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("photo", type=Path)
    parser.add_argument("expected", nargs="+", help="the photo's classes, most likely first")
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
