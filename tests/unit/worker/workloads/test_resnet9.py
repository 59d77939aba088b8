import pytest
import torch

from gpubench.protocol.messages import Job
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import QualitySettings
from gpubench.worker import effective_settings
from gpubench.worker.checks import parity
from gpubench.worker.checks.work_counts import count_flops
from gpubench.worker.quality.train_case import train
from gpubench.worker.workloads import resnet9
from gpubench.worker.workloads.registry import resolve
from gpubench.worker.workloads.resnet9 import ResNet9, blanked, mirrored, shifted, triangle


def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def images():
    return torch.randn(64, 3, 32, 32, generator=generator()) + 5


def test_it_has_eight_convolutions_and_one_classifier():
    model = ResNet9()
    kinds = [type(module).__name__ for module in model.modules()]
    assert (kinds.count("Conv2d"), kinds.count("Linear")) == (8, 1)
    assert sum(parameter.numel() for parameter in model.parameters()) == 6_573_120
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_its_flops_are_those_of_its_layers():
    def conv(side, channels_in, channels_out):
        return 2 * side**2 * channels_in * channels_out * 9

    forward = conv(32, 3, 64) + conv(32, 64, 128) + 2 * conv(16, 128, 128) + conv(16, 128, 256) + conv(8, 256, 512)
    forward += 2 * conv(4, 512, 512) + 2 * 512 * 10
    assert count_flops(resolve("resnet9"), Case(workload="resnet9", mode="infer")).per_sample == forward


@pytest.mark.slow
def test_its_step_is_the_usual_one_and_right(built):
    workload, step, case = built(workload="resnet9", image_size=32, batch_size=2)
    step()
    assert workload.health().parameters_moved
    assert parity.check(workload, case, "cpu").passed
    assert workload.optimizer.param_groups[0]["lr"] == case.learning_rate


def test_the_learning_rate_goes_up_in_a_line_and_down_to_nothing():
    shares = [triangle(step, 100) for step in range(100)]
    assert max(shares) == pytest.approx(1.0, abs=0.03)
    assert shares.index(max(shares)) in (19, 20)
    assert shares[:20] == sorted(shares[:20])
    assert shares[20:] == sorted(shares[20:], reverse=True)
    assert 0 < shares[-1] < 0.01


def test_a_shift_moves_each_image_by_at_most_four_pixels_its_edges_mirrored(images):
    moved = shifted(images, generator())
    assert moved.shape == images.shape
    padded = torch.nn.functional.pad(images, (4,) * 4, mode="reflect")
    for before, after in zip(padded, moved, strict=True):
        windows = before.unfold(1, 32, 1).unfold(2, 32, 1)
        assert any(torch.equal(windows[:, top, left], after) for top in range(9) for left in range(9))
    assert len({tuple(image.flatten()[:8].tolist()) for image in moved}) == len(moved)


def test_half_of_the_images_are_mirrored_and_all_else_stays(images):
    flipped = mirrored(images, generator())
    same = [torch.equal(before, after) for before, after in zip(images, flipped, strict=True)]
    assert 16 < sum(same) < 48
    assert all(
        kept or torch.equal(before.flip(2), after) for kept, before, after in zip(same, images, flipped, strict=True)
    )


def test_one_square_of_each_image_is_blank(images):
    spoiled = blanked(images, generator())
    for before, after in zip(images, spoiled, strict=True):
        changed = (before != after).all(dim=0)
        rows, columns = changed.any(dim=1), changed.any(dim=0)
        assert (rows.sum(), columns.sum(), changed.sum()) == (8, 8, 64)
        assert (after[:, changed] == 0).all()


def test_augmenting_follows_the_seed_and_leaves_the_measured_steps_alone(images, built):
    workload = resolve("resnet9")
    first, again = (workload.augment(images, generator()) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, images)
    workload, step, _ = built(workload="resnet9", image_size=32, batch_size=2)
    workload.augment = None
    step()


@pytest.mark.slow
def test_the_recipe_learns_and_tells_when(monkeypatch):
    monkeypatch.setattr(resnet9, "ResNet9", lambda num_classes: ResNet9(num_classes, width=8))
    case = Case(workload="resnet9", data="digits", image_size=16)
    asked = QualitySettings.model_validate(
        {"epochs": 4, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.4, "target_accuracy": 0.4}
    )
    effective_settings.apply(case, torch)
    windows = []
    job = Job(job=1, kind="quality", case=case, quality=asked, log="")
    result = train(job, "cpu", tell_window=windows.append)
    assert result.accuracy > 0.4
    assert result.loss_per_epoch[-1] < result.loss_per_epoch[0]
    (window,) = windows
    assert window.num_steps == result.steps_to_accuracy < 4 * 19 + 1
    assert window.num_samples == 64 * window.num_steps
    assert window.duration_s >= result.time_to_accuracy_s
