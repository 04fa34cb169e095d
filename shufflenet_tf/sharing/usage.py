"""How to run a shared model: the part of a model card with code to copy."""

from shufflenet_tf.models.kernels import LEGACY_KERAS
from shufflenet_tf.preprocessing import Preprocessing
from shufflenet_tf.sharing.facts import Facts

_KERAS = "tf_keras" if LEGACY_KERAS else "Keras 3"  # that writes model.keras here


def text(facts: Facts, name: str) -> str:
    """Returns the card's sections on Keras, LiteRT, Android and the browser; `name`: USER/NAME on the Hub."""
    parts = ["## How to run it", _keras(name)]
    if facts.files:
        file, size = facts.files[0].path.name, facts.model.input_shape[1:3]
        parts += [_litert(file, size, facts.model.preprocessing), _android(file), _browser(file)]
    parts.append(f"`sha256sum -c SHA256SUMS` checks the files; `@` and a commit behind `hf://{name}` pin what you have tried.")
    return "\n\n".join(parts)


def _keras(name: str) -> str:
    return f"""\
### Keras

With ShuffleNet for TensorFlow and `huggingface_hub` installed:

```python
import shufflenet_tf as st

model = st.load("hf://{name}")
st.classify_photos(model, ["photo.jpg"])[0][0]
st.train("folder:PATH", weights="hf://{name}", output="runs/mine")  # your classes, starting from these weights
```

From a download of this folder, `st.load("model.keras")` in {_KERAS}, and `st.load("weights.npz")` in any Keras."""


def _litert(file: str, size: tuple[int, int], preprocessing: Preprocessing) -> str:
    height, width = size
    scale = preprocessing.resize / preprocessing.crop
    return f"""\
### LiteRT

The files take raw pixels, RGB and uint8, and return probabilities in the order of `labels.txt`:

```python
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image, ImageOps

interpreter = Interpreter("{file}")
interpreter.allocate_tensors()
(pixels,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
shrunk = ImageOps.fit(photo, ({round(width * scale)}, {round(height * scale)}), Image.Resampling.BILINEAR)
left, top = (shrunk.width - {width}) // 2, (shrunk.height - {height}) // 2
image = shrunk.crop((left, top, left + {width}, top + {height}))
interpreter.set_tensor(pixels["index"], np.asarray(image, np.uint8)[None])
interpreter.invoke()
probabilities = interpreter.get_tensor(result["index"])[0]
print(open("labels.txt", encoding="utf-8").read().splitlines()[probabilities.argmax()])
```"""


def _android(file: str) -> str:
    return f"""\
### Android

With MediaPipe's `com.google.mediapipe:tasks-vision`; labels and preprocessing are in the file:

```kotlin
val classifier = ImageClassifier.createFromFile(context, "{file}")
val best = classifier.classify(BitmapImageBuilder(bitmap).build()).classificationResult().classifications()[0].categories()[0]
```

Or as a camera app, in a checkout of ShuffleNet for TensorFlow: `make android MODEL={file}`."""


def _browser(file: str) -> str:
    return f"""\
### Browser

```js
import {{ FilesetResolver, ImageClassifier }} from "@mediapipe/tasks-vision";

const vision = await FilesetResolver.forVisionTasks("node_modules/@mediapipe/tasks-vision/wasm");
const classifier = await ImageClassifier.createFromOptions(vision, {{ baseOptions: {{ modelAssetPath: "{file}" }} }});
console.log(classifier.classify(document.querySelector("img")).classifications[0].categories[0]);
```"""
