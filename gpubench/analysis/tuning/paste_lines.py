"""PyTorch code that switches on the settings of a case."""

from gpubench.suite.model.case import Case
from gpubench.suite.model.precisions import PRECISIONS

_OPTIMIZERS = {
    "sgd": ("SGD", ", momentum=0.9"),
    "adam": ("Adam", ""),
    "adamw": ("AdamW", ""),
}


def paste_lines(case: Case) -> tuple[str, ...]:
    """For a script with a `model`, a `dataset`, and in its loop `images`, `targets` and `loss_function`."""
    device, spec = case.device_type, PRECISIONS[case.precision]
    lines = ["import torch"]
    if case.cpu_threads is not None:
        lines.append(f"torch.set_num_threads({case.cpu_threads})")
    if case.cudnn_benchmark:
        lines.append("torch.backends.cudnn.benchmark = True")
    if spec.math == "tf32":
        lines += ['torch.set_float32_matmul_precision("high")', "torch.backends.cudnn.allow_tf32 = True"]
    dtype = "" if spec.weights == "float32" else f", dtype=torch.{spec.weights}"
    layout = ", memory_format=torch.channels_last" if case.memory_format == "channels_last" else ""
    lines.append(f'model = model.to("{device}"{dtype}{layout})')
    if case.mode == "train":
        name, more = _OPTIMIZERS[case.optimizer]
        fused = ", fused=True" if case.fused else ""
        lines.append(f"optimizer = torch.optim.{name}(model.parameters(), lr={case.learning_rate:g}{more}{fused})")
    if case.compile != "off":
        mode = "" if case.compile == "default" else f', mode="{case.compile}"'
        lines.append(f"model = torch.compile(model{mode})")
    loader = f"batch_size={case.batch_size}"
    loader += f", num_workers={case.num_workers}" if case.data_path == "loader" else ""
    loader += ", pin_memory=True" if case.data_path == "pinned" else ""
    lines.append(f"loader = torch.utils.data.DataLoader(dataset, {loader})")
    if spec.scaled and case.mode == "train":
        lines.append(f'scaler = torch.amp.GradScaler("{device}")  # scale(loss).backward(), step(optimizer), update()')
    blocking = ", non_blocking=True" if case.data_path == "pinned" else ""
    lines += ["for images, targets in loader:", f'    images = images.to("{device}"{dtype}{layout}{blocking})']
    lines += [f'    targets = targets.to("{device}"{blocking})'] if device != "cpu" else []
    call = "loss = loss_function(model(images), targets)" if case.mode == "train" else "outputs = model(images)"
    if spec.autocast is not None:
        lines += [f'    with torch.autocast("{device}", dtype=torch.{spec.autocast}):', f"        {call}"]
    else:
        lines.append(f"    {call}")
    if case.cuda_graph:
        lines.append(
            "# Capture the step after three warm-up steps: with torch.cuda.graph(graph): ...; then graph.replay()."
        )
    return tuple(lines)
