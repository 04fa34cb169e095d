"""Checks the Android app's manifest, resources and sources: lint rules, and the app's promises."""

import pathlib
import re
import xml.etree.ElementTree as ET

import pytest

DEMO = pathlib.Path(__file__).resolve().parents[2] / "android_demo"
MAIN = DEMO / "app/src/main"
ANDROID = "{http://schemas.android.com/apk/res/android}"
SOURCES = {path.name: path.read_text() for path in (MAIN / "kotlin").rglob("*.kt")}
XML = {path: ET.parse(path).getroot() for path in [MAIN / "AndroidManifest.xml", *(MAIN / "res").rglob("*.xml")]}
LAYOUTS = {path: root for path, root in XML.items() if path.parent.name.startswith("layout")}
LANGUAGES = ["values-de"]


def strings(folder: str) -> dict[str, list[str]]:
    """Returns the texts of each string, or plural, of a language."""
    root = XML[MAIN / "res" / folder / "strings.xml"]
    return {entry.get("name"): [entry.text] if entry.tag == "string" else [item.text for item in entry] for entry in root}


def places(text: str) -> list[str]:
    """Returns a format's placeholders, such as 1$s."""
    return sorted(re.findall(r"%(\d+\$[^a-z]*[a-z]|d)", text.replace("\\$", "$")))


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_are_complete(language):
    original, translated = strings("values"), strings(language)
    assert original.keys() == translated.keys()
    for name, texts in original.items():
        assert {tuple(places(text)) for text in texts} == {tuple(places(text)) for text in translated[name]}, name


def test_core_s_sentences_are_strings():
    keys = dict(re.findall(r'^ {8}([A-Z_]+)\(\s*((?:"(?:[^"\\]|\\.)*"[\s+]*)+)', _core("ModelMessage.kt"), re.MULTILINE))
    texts = {name: texts[0] for name, texts in strings("values").items() if name.startswith("message_")}
    assert texts.keys() == {f"message_{key.lower()}" for key in keys} and len(keys) > 5
    for key, pattern in keys.items():
        english = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', pattern)).replace("\\$", "$")
        assert texts[f"message_{key.lower()}"].replace("\\'", "'") == english


def _core(name: str) -> str:
    return next((DEMO / "core/src/main/kotlin").rglob(name)).read_text()


def test_every_resource_is_used():
    defined = {(entry.tag if entry.tag != "style" else "style", entry.get("name")) for entry in _values()}
    defined |= {
        (path.parent.name.split("-")[0], path.stem) for path in (MAIN / "res").glob("*/*") if path.parent.name[:6] != "values"
    }
    text = "\n".join([*SOURCES.values(), *(path.read_text() for path in XML)])
    used = set(re.findall(r"@(?:\+)?(\w+)/([\w.]+)", text)) | set(re.findall(r"\bR\.(\w+)\.(\w+)", text))
    used |= {("style", name) for name in re.findall(r'parent="([\w.]+)"', text)}
    assert {(kind, name) for kind, name in defined if (kind, name) not in used} == set()


def _values() -> list[ET.Element]:
    return [entry for path, root in XML.items() if path.parent.name == "values" for entry in root]


@pytest.mark.parametrize("path", LAYOUTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_layouts_name_resources(path):
    for view in LAYOUTS[path].iter():
        for attribute in ("text", "contentDescription", "hint", "tooltipText"):
            value = view.get(ANDROID + attribute)
            assert value is None or value.startswith("@string/"), f"{view.tag}: {value}"
        for name, value in view.attrib.items():
            assert not re.fullmatch(r"#\w+|\d+(\.\d+)?(px|dip|sp)|[1-9]\d*dp", value), f"{view.tag}: {name} = {value}"
        size = view.get(ANDROID + "textSize")
        assert size is None or size.startswith("@dimen/text_")


def test_texts_grow_with_the_phone_s_font_size():
    sizes = {entry.get("name"): entry.text for entry in _values() if entry.tag == "dimen"}
    assert all(value.endswith("sp") == name.startswith("text_") for name, value in sizes.items())


@pytest.mark.parametrize("path", LAYOUTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_everything_can_be_heard(path):
    """Everything that can be touched has a description for TalkBack, and decoration has none."""
    silent = {"ImageView", "TextureView", "ProgressBar"}
    for view in LAYOUTS[path].iter():
        described = ANDROID + "contentDescription" in view.attrib
        if view.tag in ("ImageButton", "SeekBar") or (view.get(ANDROID + "clickable") == "true" and view.tag != "ScrollView"):
            assert described, view.attrib
        if view.tag in silent or "." in view.tag:
            assert described or view.get(ANDROID + "importantForAccessibility") == "no", view.attrib


def test_touch_targets_are_large_enough():
    assert {entry.get("name"): entry.text for entry in _values()}["touch"] == "48dp"
    for root in LAYOUTS.values():
        for view in root.iter():
            if view.tag in ("Button", "RadioButton", "SeekBar", "Switch"):
                assert view.get(ANDROID + "minHeight") == "@dimen/touch", view.attrib
            if view.tag == "ImageButton":
                assert view.get("style") == "@style/RoundButton"


def _luminance(colour: str, below: tuple[float, ...]) -> tuple[tuple[float, ...], float]:
    """Returns an ARGB or RGB colour drawn over another one, and its relative luminance after WCAG 2."""
    value = colour.lstrip("#")
    alpha, *rgb = (
        [int(value[i : i + 2], 16) / 255 for i in range(0, len(value), 2)] if len(value) == 8 else [1, *_luminance_rgb(value)]
    )
    mixed = tuple(alpha * top + (1 - alpha) * bottom for top, bottom in zip(rgb, below, strict=True))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in mixed]
    return mixed, 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _luminance_rgb(value: str) -> list[float]:
    return [int(value[i : i + 2], 16) / 255 for i in (0, 2, 4)]


@pytest.mark.parametrize("folder", ["values", "values-night"])
@pytest.mark.parametrize("behind", [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0)], ids=["black", "white"])
def test_texts_have_contrast(folder, behind):
    """At least 4.5 to 1 (WCAG level AA), whatever the camera shows behind the panel."""
    colours = {entry.get("name"): entry.text for entry in XML[MAIN / "res" / folder / "colors.xml"]}
    surface, light = _luminance(colours["surface"], behind)
    for name in ("on_surface", "on_surface_soft", "notice", "accent"):
        _, text = _luminance(colours[name], surface)
        assert (max(light, text) + 0.05) / (min(light, text) + 0.05) >= 4.5, name


def test_texts_over_the_picture_have_contrast():
    colours = {entry.get("name"): entry.text for entry in XML[MAIN / "res/values/colors.xml"]}
    shade, dark = _luminance(colours["shade"], (1.0, 1.0, 1.0))
    _, text = _luminance(colours["over_picture"], shade)
    assert (text + 0.05) / (dark + 0.05) >= 4.5


def test_manifest_asks_for_the_camera_alone():
    manifest = XML[MAIN / "AndroidManifest.xml"]
    assert [entry.get(ANDROID + "name") for entry in manifest.iter("uses-permission")] == ["android.permission.CAMERA"]
    assert all(entry.get(ANDROID + "required") == "false" for entry in manifest.iter("uses-feature"))
    assert manifest.find("application").get(ANDROID + "allowBackup") == "false"


def test_activities_are_declared():
    activities = {entry.get(ANDROID + "name"): entry for entry in XML[MAIN / "AndroidManifest.xml"].iter("activity")}
    written = {
        f"io.github.shufflenettf.demo.{name}"
        for text in SOURCES.values()
        for name in re.findall(r"class (\w+) : Activity\(\)", text)
    }
    assert activities.keys() == written
    for name, entry in activities.items():
        exported = entry.get(ANDROID + "exported")
        assert exported == ("true" if name.endswith(".MainActivity") else "false")
        assert entry.find("intent-filter") is None or exported == "true"


@pytest.mark.parametrize("name", SOURCES)
def test_sources(name):
    text = SOURCES[name]
    assert not re.search(r"\b(text|contentDescription|title|hint)\s*=\s*\"|setText\(\"|Toast", text), (
        "a text that is no resource"
    )
    assert not re.search(r"java\.net|URLConnection|Socket\b|WebView", text), "the network"
    assert not re.search(r"nnapi", text, re.IGNORECASE), "deprecated"
    assert "!!" not in text and "GlobalScope" not in text
    assert len(text.splitlines()) <= 300
    assert all(len(line) <= 140 for line in text.splitlines())


def test_gradle_and_maven_agree():
    catalog = dict(re.findall(r'^(\w+) = "([^"]+)"$', (DEMO / "gradle/libs.versions.toml").read_text(), re.MULTILINE))
    poms = "".join((DEMO / path).read_text() for path in ("pom.xml", "app/pom.xml"))
    for name in ("kotlin", "serialization", "junit"):
        assert f"<{name}.version>{catalog[name]}</{name}.version>" in poms
    assert all(re.fullmatch(r"[\d.]+", version) for version in catalog.values()), "pinned, no ranges"
    assert catalog["minSdk"] == "26" and catalog["targetSdk"] == catalog["compileSdk"]


def test_gradle_names_what_exists():
    catalog = (DEMO / "gradle/libs.versions.toml").read_text()
    defined = {name.replace("-", ".") for name in re.findall(r"^([\w-]+) = \{", catalog, re.MULTILINE)}
    for script in [DEMO / "build.gradle.kts", *DEMO.glob("*/build.gradle.kts")]:
        for name in re.findall(r"libs\.(?:plugins\.)?([a-z][\w.]*?)[),]", script.read_text()):
            assert name in defined or name.startswith("versions."), f"{script}: {name}"
    modules = re.findall(r'":(\w+)"', (DEMO / "settings.gradle.kts").read_text())
    assert all((DEMO / module / "build.gradle.kts").is_file() for module in modules) and len(modules) == 2


def test_models_and_packages_stay_out_of_git():
    ignored = pathlib.Path(DEMO / ".gitignore").read_text().split()
    assert {"/app/src/main/assets/", "*.apk", "target/", "build/"} <= set(ignored)
