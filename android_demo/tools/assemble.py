"""Builds the app's debug APK with command-line tools; needs neither the Android SDK nor Gradle.

python android_demo/tools/assemble.py                   tests core, compiles the app, writes android_demo/app-debug.apk
python android_demo/tools/assemble.py model.tflite ...  the same, with these models instead of those in assets
"""

import argparse
import hashlib
import shutil
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import apk
from toolchain import DEMO, BuildError, build_core, class_path, find_files, framework, require_programs, run, unpack, versions

_MAIN = DEMO / "app/src/main"
_TARGET = DEMO / "app/target"
_ABIS = ("arm64-v8a", "armeabi-v7a", "x86_64")
_PACKAGE = "io.github.shufflenettf.demo"
_ANDROID = "http://schemas.android.com/apk/res/android"
# The runs take seconds: the optimizing compiler would cost more than it saves.
JAVA = ("java", "-Xmx2g", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
ASSETS = _MAIN / "assets"


def link_resources() -> tuple[Path, Path]:
    """Compiles the resources and links them with the manifest; returns aapt2's package and the folder with R.java."""
    ET.register_namespace("android", _ANDROID)
    manifest = ET.parse(_MAIN / "AndroidManifest.xml")
    # Gradle's plugin would add these.
    manifest.getroot().set("package", _PACKAGE)
    manifest.getroot().find("application").set(f"{{{_ANDROID}}}extractNativeLibs", "false")
    merged, compiled, linked, java = (_TARGET / name for name in ("AndroidManifest.xml", "res.zip", "res.apk", "r"))
    manifest.write(merged, encoding="utf-8", xml_declaration=True)
    run("aapt2", "compile", "--dir", _MAIN / "res", "-o", compiled)
    pinned = versions()
    run(
        *("aapt2", "link", "-I", framework(), "--manifest", merged, "-o", linked, "--java", java, "--debug-mode"),
        *("--min-sdk-version", pinned["minSdk"], "--target-sdk-version", pinned["targetSdk"]),
        *("--version-code", pinned["versionCode"], "--version-name", pinned["versionName"]),
        # Debian's aapt2 is older than <uses-native-library>, and would reject it without this flag.
        *("--proguard", _TARGET / "resources.pro", "--warn-manifest-validation", compiled),
    )
    return linked, java


def compile_classes(java: Path) -> tuple[list[Path], list[Path]]:
    """Compiles R.java and the Kotlin sources if anything changed; warnings are errors.

    Returns:
      Class folders and jars of the app, and the folders of the .aar files.
    """
    dependencies = class_path()
    archives = unpack([path for path in dependencies if path.suffix == ".aar"], _TARGET / "aar")
    library = [
        path for path in dependencies if path.name.startswith(("kotlin-stdlib-", "annotations-", "kotlinx-serialization-"))
    ]
    program = [DEMO / "core/target/classes", *(folder / "classes.jar" for folder in archives), *library]
    classes, stamp = _TARGET / "classes", _TARGET / "classes.stamp"
    inputs = _digest([java, _MAIN / "kotlin", *program, DEMO / "tools/assemble.py"])
    if not (stamp.exists() and stamp.read_text() == inputs):
        shutil.rmtree(classes, ignore_errors=True)
        classes.mkdir(parents=True)
        run("javac", "-nowarn", "-Xlint:-options", "--release", "8", "-d", classes, *java.rglob("R.java"))
        kotlinc(_MAIN / "kotlin", classes, [classes, *program, android_jar()], "-Xjdk-release=1.8")
        stamp.write_text(inputs)
    return [classes, *program], archives


def _digest(paths: list[Path]) -> str:
    """Returns a hash of the names and contents of files and folders."""
    files = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path]) if file.is_file()]
    return hashlib.sha256(b"".join(f"{file}".encode() + file.read_bytes() for file in files)).hexdigest()


def kotlinc(sources: Path, classes: Path, path: list[Path], *flags: str) -> None:
    """Compiles a folder of Kotlin sources into a folder of class files; warnings are errors."""
    compiler = join([file for file in class_path() if file.suffix == ".jar"])
    options = ("-no-stdlib", "-no-reflect", "-Werror", "-module-name", "app", *flags)
    run(
        *JAVA,
        "-cp",
        compiler,
        "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler",
        *options,
        "-d",
        classes,
        "-cp",
        join(path),
        sources,
    )


def android_jar() -> Path:
    """Returns the jar of Android's classes. java.* is compiled against the JDK's Java 8 API instead."""
    return next(path for path in class_path() if path.name.startswith("android-all-"))


def join(paths: list[Path]) -> str:
    """Returns a class path."""
    return ":".join(map(str, paths))


def make_dex(classes: list[Path], rules: list[Path] | None = None) -> list[Path]:
    """Translates class files to .dex files with D8, or with R8 if there are keep rules; returns the .dex files."""
    folder = _TARGET / ("r8" if rules else "dex")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    archives = []
    for number, path in enumerate(classes):
        if path.is_dir():
            path = Path(shutil.make_archive(str(folder / f"classes{number}"), "zip", path)).rename(
                folder / f"classes{number}.jar"
            )
        archives.append(path)
    tool = ["com.android.tools.r8.R8", "--release"] if rules else ["com.android.tools.r8.D8", "--debug"]
    for file in rules or []:
        tool += ["--pg-conf", str(file)]
    r8 = [path for path in class_path() if path.name.startswith("r8-")]
    minimum = versions()["minSdk"]
    jdk = Path(shutil.which("javac")).resolve().parents[1]
    libraries = ("--lib", android_jar(), "--lib", jdk)
    run(*JAVA, "-cp", join(r8), *tool, *libraries, "--min-api", minimum, "--output", folder, *archives)
    return sorted(folder.glob("*.dex"))


def sign(unsigned: Path, output: Path, keystore: Path) -> str:
    """Signs with the debug key, which is created on first use; returns the result of the signature check."""
    if not keystore.exists():
        keystore.parent.mkdir(parents=True, exist_ok=True)
        store = ("-keystore", keystore, "-storetype", "PKCS12", "-storepass", "android", "-alias", "androiddebugkey")
        key = ("-keyalg", "RSA", "-keysize", "2048", "-validity", "10950", "-dname", "CN=Android Debug")
        run("keytool", "-genkeypair", *store, *key)
    apksig = [path for path in class_path() if path.name.startswith("apksig-")]
    return run("java", "-cp", join(apksig), DEMO / "tools/Sign.java", keystore, unsigned, output, versions()["minSdk"]).strip()


def assemble(output: Path, models: list[Path], keystore: Path, release: bool = False) -> None:
    """Builds the APK and prints its contents.

    Args:
      output: file to write.
      models: .tflite files to include.
      keystore: contains the debug key.
      release: whether to shrink it with R8.

    Raises:
      toolchain.BuildError: a tool has failed, or is missing.
    """
    linked, java = link_resources()
    classes, archives = compile_classes(java)
    rules = [DEMO / "app/proguard-rules.pro", _TARGET / "resources.pro"] if release else None
    files = {path.name: path for path in make_dex(classes, rules)}
    for library in (path for folder in archives for path in folder.glob("jni/*/*.so") if path.parent.name in _ABIS):
        files[f"lib/{library.parent.name}/{library.name}"] = library
    files.update({f"assets/{model.name}": model for model in models})
    unsigned = _TARGET / "unsigned.apk"
    apk.write(unsigned, linked, files)
    signature = sign(unsigned, output, keystore)
    if wrong := apk.misaligned(output):
        raise BuildError(f"These files are compressed or misaligned in the APK: {', '.join(wrong)}.")
    print(run("aapt2", "dump", "badging", output).strip())
    pages = {apk.page_size(path) for name, path in files.items() if name.endswith(".so") and "64" in name}
    print(f"Native libraries: placed for pages of {apk.PAGE} bytes, linked for {min(pages)}. Signature: {signature}.")
    names = ", ".join(model.name for model in models) or "none"
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB; models: {names}")


def main(arguments: list[str]) -> int:
    """Runs the program; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, help="TFLite files that replace those in the app's assets")
    parser.add_argument("--output", type=Path, default=DEMO / "app-debug.apk", help="APK to write (%(default)s)")
    parser.add_argument(
        "--keystore",
        type=Path,
        default=Path.home() / ".android/debug.keystore",
        help="keystore with the debug key (%(default)s)",
    )
    parser.add_argument("--skip-tests", action="store_true", help="skip core's tests")
    parser.add_argument("--release", action="store_true", help="shrink with R8, like the Gradle build's release")
    options = parser.parse_args(arguments)
    try:
        for model in options.models:
            if not model.is_file():
                parser.error(f"{model} is not a file: give the path of a .tflite file.")
        require_programs()
        _TARGET.mkdir(parents=True, exist_ok=True)
        build_core(test=not options.skip_tests)
        find_files()
        if options.models:
            shutil.rmtree(ASSETS, ignore_errors=True)
            ASSETS.mkdir(parents=True)
            for model in options.models:
                shutil.copy(model, ASSETS)
        assemble(options.output.resolve(), sorted(ASSETS.glob("*.tflite")), options.keystore, options.release)
    except BuildError as error:
        print(f"assemble: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
