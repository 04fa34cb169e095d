"""Says what an optimization gained: multiply-adds and weights, the predicted and the measured time."""

from export.optimize import Optimized


def lines(result: Optimized) -> list[str]:
    """Returns three lines: multiply-adds and weights, the predicted time on the target, and the measured time here."""
    if result.predicted is None:
        return []
    before, after = result.predicted
    target = result.target
    kind = "measured operators" if target.measured else "modelled, not measured"
    here = f"{_change(*result.measured, '{:.2f}')} ms" if result.measured else "not timed, as a run takes seconds"
    return [
        f"multiply-adds: {_change(before.multiply_adds, after.multiply_adds, '{:,}')}; "
        f"bytes of constants: {_change(before.parameters, after.parameters, '{:,}')}",
        f"predicted for {target.name} ({target.processor}; {kind}): "
        f"{_change(before.milliseconds, after.milliseconds, '{:.2f}')} ms",
        f"measured on this machine: {here}",
    ]


def _change(before: float, after: float, form: str) -> str:
    ratio = f" ({after / before:.2f})" if before else ""
    return f"{form.format(before)} -> {form.format(after)}{ratio}"
