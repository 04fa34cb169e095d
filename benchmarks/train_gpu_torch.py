"""torchvision's ShuffleNet V2 1.0x in PyTorch for train_gpu.py: channels-last, automatic mixed precision, torch.compile.

It needs neither TensorFlow nor this project, so that it runs where only PyTorch is:
  python benchmarks/train_gpu_torch.py --batch_size=1024
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from typing import Any

MULTIPLY_ADDS = 146e6  # of V2 1.0x at 224 px


def measure(side: int, batch: int, steps: int, precisions: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yields measurements as train_gpu.py prints them.

    Args:
      side: of the images, in pixels.
      batch: images a step.
      steps: timed ones.
      precisions: "float32", "bfloat16" or "float16".
    """
    for precision in precisions:
        for compiled in (False, True):
            yield _row(side, batch, steps, precision, compiled)


def _row(side: int, batch: int, steps: int, precision: str, compiled: bool) -> dict[str, Any]:
    import torch
    import torchvision

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True  # as TensorFlow multiplies
    torch.backends.cudnn.benchmark = True
    images = torch.randn(batch, 3, side, side, device=device).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 1000, (batch,), device=device)
    model = torchvision.models.shufflenet_v2_x1_0().to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, nesterov=True, weight_decay=4e-5)
    scaler = torch.amp.GradScaler(device, enabled=precision == "float16" and device == "cuda")
    call = torch.compile(model) if compiled else model

    def forward():
        with torch.autocast(device, getattr(torch, precision), enabled=precision != "float32"):
            return torch.nn.functional.cross_entropy(call(images), labels)

    def backward():
        optimizer.zero_grad(set_to_none=True)
        loss = forward()
        scaler.scale(loss).backward()
        return loss

    def update():
        loss = backward()
        scaler.step(optimizer)
        scaler.update()
        return loss

    times = [_seconds(function, steps) for function in (forward, backward, update)]
    return {
        "what": "torchvision V2 1.0x",
        "precision": precision,
        "compiled": compiled,
        "images_per_second": batch / times[2],
        "forward_ms": 1e3 * times[0],
        "backward_ms": 1e3 * max(0.0, times[1] - times[0]),
        "update_ms": 1e3 * max(0.0, times[2] - times[1]),
        "tflops": 6 * MULTIPLY_ADDS * (side / 224) ** 2 * batch / times[2] / 1e12,
    }


def _seconds(function, steps: int) -> float:
    for _ in range(3):
        float(function())
    start = time.perf_counter()
    for _ in range(steps):
        result = function()
    float(result)  # waits for the accelerator
    return (time.perf_counter() - start) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image_size", type=int, default=224, help="side of the images in pixels")
    parser.add_argument("--batch_size", type=int, default=1024, help="images a step")
    parser.add_argument("--steps", type=int, default=20, help="timed steps")
    args = parser.parse_args()
    for row in measure(args.image_size, args.batch_size, args.steps, ("float32", "bfloat16")):
        print(row, flush=True)


if __name__ == "__main__":
    main()
