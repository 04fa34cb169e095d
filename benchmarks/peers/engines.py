"""The engines: how each converts the network, and how it's made ready to be timed with settings that its makers recommend.

Every import is inside the function that needs it, so that one engine that is missing or broken doesn't take the others along.
Nothing is allocated within a timed call where an engine offers a way around it: inputs are in place, outputs are bound.
"""

import dataclasses
import os
import pathlib
import subprocess
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.peers.network import Weights, onnx_model, torch_module


@dataclasses.dataclass(frozen=True)
class Job:
    """What is asked of an engine.

    Attributes:
      folder: where `prepare` has put the network, and converted files go.
      precision: "float32" or "int8".
      threads: to compute with.
    """

    folder: pathlib.Path
    precision: str
    threads: int = 1

    def image(self, channels_first: bool = True) -> np.ndarray:
        """Returns the one image that everything is checked and timed on, float32."""
        image = np.load(self.folder / "images.npy", mmap_mode="r")[:1]
        return np.ascontiguousarray(image.transpose(0, 3, 1, 2) if channels_first else image)

    def samples(self) -> Iterator[np.ndarray]:
        """Yields images [1, 3, side, side] to calibrate with."""
        for image in np.load(self.folder / "images.npy"):
            yield np.ascontiguousarray(image.transpose(2, 0, 1)[None])


@dataclasses.dataclass(frozen=True)
class Ready:
    """An engine with a network and an image in place.

    Attributes:
      run: computes; this is what's timed.
      logits: returns what the last run made of the image.
    """

    run: Callable[[], Any]
    logits: Callable[[], np.ndarray]


# What has to outlive the networks that use it, and nobody else holds: inputs, and the memory of ncnn's tensors.
_ALIVE: list[Any] = []


def _nothing(job: Job) -> None:
    """Converts nothing: `prepare` has made the files."""


@dataclasses.dataclass(frozen=True)
class Engine:
    """One row of the table.

    Attributes:
      title: in the table.
      package: whose version is shown.
      load: makes it ready.
      convert: makes the files that `load` reads, once.
      without: why it has no int8; None: it has.
    """

    title: str
    package: str
    load: Callable[[Job], Ready]
    convert: Callable[[Job], None] = _nothing
    without: str | None = None


def litert(path: pathlib.Path, job: Job) -> Ready:
    """LiteRT with XNNPACK, its default."""
    from export.flatbuffer import runtime

    interpreter = runtime.interpreter(path, job.threads)
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(given["index"], job.image(channels_first=False))
    return Ready(interpreter.invoke, lambda: interpreter.get_tensor(made["index"]))


def _as_converted(job: Job) -> Ready:
    return litert(job.folder / f"litert_{job.precision}.tflite", job)


def _ours(job: Job) -> Ready:
    return litert(job.folder / f"ours_{job.precision}_{job.threads}.tflite", job)


def _onnx(job: Job, name: str = "float32.onnx") -> str:
    """Returns the path of the network as ONNX, which is written on first use."""
    path = job.folder / name
    if not path.exists():
        path.write_bytes(onnx_model(Weights.load(job.folder / "weights.npz")).SerializeToString())
    return str(path)


def _convert_onnxruntime(job: Job) -> None:
    source = _onnx(job)
    if job.precision == "float32":
        return
    from onnxruntime import quantization as q
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(q.CalibrationDataReader):
        def __init__(self):
            self.samples = ({"image": image} for image in job.samples())

        def get_next(self):
            return next(self.samples, None)

    prepared = str(job.folder / "prepared.onnx")
    quant_pre_process(source, prepared)
    # What its documentation advises for x86 without VNNI; with VNNI, 7 bits cost no time. int8 x int8 measured slower.
    q.quantize_static(
        prepared,
        str(job.folder / "int8.onnx"),
        Reader(),
        quant_format=q.QuantFormat.QDQ,
        per_channel=True,
        reduce_range=True,
        activation_type=q.QuantType.QUInt8,
        weight_type=q.QuantType.QInt8,
    )


def _onnxruntime(job: Job) -> Ready:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = job.threads, 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    path = str(job.folder / f"{job.precision}.onnx")
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    binding, image = session.io_binding(), job.image()
    logits = np.zeros(session.get_outputs()[0].shape, np.float32)
    for name, bind, values in (("image", binding.bind_input, image), ("logits", binding.bind_output, logits)):
        bind(name, "cpu", 0, np.float32, values.shape, values.ctypes.data)

    _ALIVE.extend((image, logits))
    return Ready(lambda: session.run_with_iobinding(binding), logits.copy)


def _convert_openvino(job: Job) -> None:
    source = _onnx(job)
    if job.precision == "float32":
        return
    import nncf
    import openvino as ov

    quantized = nncf.quantize(
        ov.Core().read_model(source),
        nncf.Dataset(list(job.samples())),
        preset=nncf.QuantizationPreset.PERFORMANCE,
        target_device=nncf.TargetDevice.CPU,
    )
    ov.save_model(quantized, job.folder / "int8.xml", compress_to_fp16=False)


def _openvino(job: Job) -> Ready:
    import openvino as ov

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": job.threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,  # a pinned thread would wait for whatever else the machine does on its core
    }
    path = job.folder / ("float32.onnx" if job.precision == "float32" else "int8.xml")
    request = ov.Core().compile_model(path, "CPU", settings).create_infer_request()
    request.set_input_tensor(ov.Tensor(job.image()))  # a copy
    return Ready(request.infer, lambda: request.get_output_tensor().data.copy())


def _convert_mnn(job: Job) -> None:
    # Not by MNN's own command, which installs a package and reports to its makers; this is what it calls.
    import _tools

    arguments = ["-f", "ONNX", "--modelFile", _onnx(job), "--MNNModel", str(job.folder / "float32.mnn"), "--bizCode", "peers"]
    _tools.mnnconvert(["mnnconvert", *arguments])


def _mnn(job: Job) -> Ready:
    import MNN

    interpreter = MNN.Interpreter(str(job.folder / "float32.mnn"))
    session = interpreter.createSession({"backend": "CPU", "numThread": job.threads, "precision": "high"})
    image, made = job.image(), interpreter.getSessionOutput(session)

    def host(values: np.ndarray) -> Any:
        _ALIVE.append(values)
        return MNN.Tensor(values.shape, MNN.Halide_Type_Float, values, MNN.Tensor_DimensionType_Caffe)

    interpreter.getSessionInput(session).copyFrom(host(image))
    copied = host(np.zeros(made.getShape(), np.float32))

    def logits() -> np.ndarray:
        made.copyToHostTensor(copied)
        return np.array(copied.getData(), np.float32)

    return Ready(lambda: interpreter.runSession(session), logits)


def _convert_ncnn(job: Job) -> None:
    import pnnx

    folder = job.folder / "ncnn"
    folder.mkdir(exist_ok=True)
    # Weights in full precision, which is not its default.
    command = [pnnx.EXEC_PATH, os.path.abspath(_onnx(job, "ncnn/network.onnx")), "fp16=0"]
    subprocess.run(command, cwd=folder, check=True)


def _ncnn(job: Job) -> Ready:
    import ncnn

    net, allocators = ncnn.Net(), (ncnn.UnlockedPoolAllocator(), ncnn.PoolAllocator())
    net.opt.num_threads, net.opt.use_vulkan_compute = job.threads, False
    net.opt.blob_allocator, net.opt.workspace_allocator = allocators
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    if net.load_param(str(job.folder / "ncnn/network.ncnn.param")) or net.load_model(str(job.folder / "ncnn/network.ncnn.bin")):
        raise RuntimeError("ncnn can't load what pnnx has written")
    image, last = job.image()[0], {}
    _ALIVE.extend((allocators, image))
    given = ncnn.Mat(image)  # which holds no copy

    def run():
        extractor = net.create_extractor()
        extractor.input("in0", given)
        _, last["logits"] = extractor.extract("out0")

    return Ready(run, lambda: np.array(last["logits"]))


def _pytorch(job: Job) -> Ready:
    import torch

    torch.set_num_threads(job.threads)
    image, last = torch.from_numpy(job.image()), {}
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # TorchScript is to go, but compiled by Inductor the network measured slower
        traced = torch.jit.trace(torch_module(Weights.load(job.folder / "weights.npz")), image)
        module = torch.jit.optimize_for_inference(torch.jit.freeze(traced))

    def run():
        with torch.inference_mode():
            last["logits"] = module(image)

    return Ready(run, lambda: last["logits"].numpy())


ENGINES = {
    "ours": Engine("LiteRT, ours", "ai-edge-litert", _ours),
    "litert": Engine("LiteRT, as converted", "ai-edge-litert", _as_converted),
    "onnxruntime": Engine("ONNX Runtime", "onnxruntime", _onnxruntime, _convert_onnxruntime),
    "openvino": Engine("OpenVINO", "openvino", _openvino, _convert_openvino),
    "mnn": Engine("MNN", "MNN", _mnn, _convert_mnn, "its quantizer aborts on this graph (tried: 3.6.1)"),
    "ncnn": Engine("ncnn", "ncnn", _ncnn, _convert_ncnn, "its quantizer isn't on PyPI"),
    "pytorch": Engine("PyTorch", "torch", _pytorch, without="only its float32 is measured"),
}
