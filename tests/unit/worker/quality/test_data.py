import multiprocessing
from functools import partial
from itertools import islice

import numpy as np
import pytest
import torch

from gpubench.core.errors import UsageError
from gpubench.suite.model.case import Case
from gpubench.worker.quality.epoch_source import EpochSource
from gpubench.worker.workloads.classifier import datasets as data
from gpubench.worker.workloads.classifier.formats import Format
from gpubench.worker.workloads.supervised.batches import Endless, HostMemoryBatches, Loader, make_batches, make_source


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", seed=0)


def rows(split):
    return [bytes(image.to(torch.uint8).numpy().tobytes()) for image in split.images_NCHW]


def test_digits_are_the_1797_real_images_split_70_15_15(digits):
    assert [len(part) for part in (digits.train, digits.validation, digits.test)] == [1257, 270, 270]
    assert digits.train.images_NCHW.shape == (1257, 1, 8, 8)


def test_no_image_is_in_two_splits(digits):
    from sklearn.datasets import load_digits

    together = rows(digits.train) + rows(digits.validation) + rows(digits.test)
    everything = [bytes(image.astype("uint8").tobytes()) for image in load_digits().images]
    assert sorted(together) == sorted(everything)


def test_every_split_holds_every_class_in_proportion(digits):
    shares = [
        torch.bincount(part.labels_N, minlength=10) / len(part)
        for part in (digits.train, digits.validation, digits.test)
    ]
    for share in shares[1:]:
        assert (share - shares[0]).abs().max() < 1 / 100


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("num", "classes", "share"), [(1797, 10, 0.15), (1527, 10, 0.15 / 0.85), (60, 7, 0.3)])
def test_a_split_is_that_of_scikit_learn(num, classes, share, seed):
    from sklearn.model_selection import train_test_split

    labels_N = torch.randint(classes, (num,), generator=torch.Generator().manual_seed(seed))
    expected = train_test_split(np.arange(num), test_size=share, random_state=seed, stratify=labels_N.numpy())
    assert [part.tolist() for part in data.stratified(labels_N, share, seed)] == [part.tolist() for part in expected]


def test_digits_are_read_as_scikit_learn_reads_them():
    from sklearn.datasets import load_digits

    pixels_and_label = np.loadtxt(data._digits_file(), delimiter=",")
    assert np.array_equal(pixels_and_label[:, :-1], load_digits().data)
    assert np.array_equal(pixels_and_label[:, -1], load_digits().target)


def test_without_scikit_learn_there_are_no_digits(monkeypatch):
    monkeypatch.setattr(data, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="scikit-learn"):
        data.load("digits")


def test_the_split_follows_the_seed(digits):
    again, other = data.load("digits", seed=0), data.load("digits", seed=1)
    assert torch.equal(digits.test.images_NCHW, again.test.images_NCHW)
    assert not torch.equal(digits.test.images_NCHW, other.test.images_NCHW)


def test_prepared_images_are_normalised_by_the_training_split(digits):
    images = digits.prepare(digits.train.images_NCHW, 8)
    assert images.shape == (1257, 3, 8, 8)
    assert abs(float(images.mean())) < 1e-5
    assert abs(float(images.std()) - 1) < 1e-3
    assert torch.equal(images[:, 0], images[:, 2])


def test_images_are_resized_bilinearly(digits):
    raw = digits.train.images_NCHW[:2]
    expected = torch.nn.functional.interpolate(digits.prepare(raw, 8), size=(28, 28), mode="bilinear")
    torch.testing.assert_close(digits.prepare(raw, 28), expected)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_an_absent_set_names_the_folder_and_the_option(name, tmp_path):
    with pytest.raises(UsageError, match=str(tmp_path)) as caught:
        data.load(name, root=str(tmp_path))
    assert "--download" in caught.value.hint
    assert list(tmp_path.rglob("*.gz")) == []


def test_an_unknown_set_is_refused():
    with pytest.raises(UsageError, match="no data set called 'imagenet'"):
        data.load("imagenet")


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(header + array.tobytes())


def test_mnist_is_read_from_a_local_folder_without_downloading(tmp_path):
    import numpy as np

    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for prefix, size in (("train", 200), ("t10k", 40)):
        write_idx(raw / f"{prefix}-images-idx3-ubyte", generator.integers(0, 256, (size, 28, 28), dtype=np.uint8))
        write_idx(raw / f"{prefix}-labels-idx1-ubyte", np.arange(size, dtype=np.uint8) % 10)
    mnist = data.load("mnist", root=str(tmp_path))
    assert [len(part) for part in (mnist.train, mnist.validation, mnist.test)] == [170, 30, 40]
    assert mnist.prepare(mnist.test.images_NCHW[:3], 32).shape == (3, 3, 32, 32)


CASE, CPU = Case(batch_size=6), torch.device("cpu")
make_batch = Format.of_images(8, 10).random


def test_cifar10_has_three_channels_and_a_test_split_of_its_own(monkeypatch, tmp_path):
    from torchvision import datasets

    class Stored:
        def __init__(self, root, train, download):
            assert (root, download) == (str(tmp_path), False)
            self.data = np.full((200 if train else 20, 32, 32, 3), (10, 20, 30), dtype=np.uint8)
            self.data[::2] += 100
            self.targets = [index % 10 for index in range(len(self.data))]

    monkeypatch.setattr(datasets, "CIFAR10", Stored)
    loaded = data.load("cifar10", root=str(tmp_path))
    assert (len(loaded.train), len(loaded.validation), len(loaded.test)) == (170, 30, 20)
    assert loaded.test.images_NCHW.shape == (20, 3, 32, 32)
    assert loaded.test.images_NCHW[1, :, 5, 5].tolist() == [10, 20, 30]
    assert loaded.prepare(loaded.train.images_NCHW, 16).mean(dim=(0, 2, 3)).abs().max() < 1e-4


def test_synthetic_batches_are_seeded_and_distinct():
    first, second = islice(make_batches(CASE, make_batch, None, CPU), 2)
    again = next(make_batches(CASE, make_batch, None, CPU))
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], second[0])
    assert first[1].min() >= 0
    assert first[1].max() < 10


def test_a_batch_larger_than_the_split_repeats_images(digits):
    test = data.prepared(digits, 8).test
    batch = next(make_batches(Case(batch_size=300), make_batch, test, CPU))
    assert batch[0].shape == (300, 3, 8, 8)


@pytest.mark.parametrize(("batch_size", "image_size", "num_batches"), [(6, 8, 8), (256, 224, 1), (64, 224, 6)])
def test_the_pool_stays_within_its_bounds(batch_size, image_size, num_batches):
    blank = partial(Format.of_images(image_size, 10).unfilled, dtype=torch.float32, device=CPU)
    source = make_source(Case(batch_size=batch_size), lambda num, _generator: blank(num), None, CPU)
    assert len(source.batches) == num_batches


def test_endless_indices_visit_every_image_once_per_pass():
    indices = list(islice(Endless(5, seed=0), 15))
    assert [sorted(indices[i : i + 5]) for i in (0, 5, 10)] == [[0, 1, 2, 3, 4]] * 3
    assert indices[:5] != indices[5:10]


def test_fewer_classes_than_the_data_has_are_refused(built):
    with pytest.raises(UsageError, match="`num_classes: 5` is too few: digits has 10 classes"):
        built(data="digits", num_classes=5)


def test_resident_batches_rotate(built):
    workload, _, _ = built(batch_size=4)
    seen = [workload.source.fetch()[0] for _ in range(9)]
    assert seen[8] is seen[0]
    assert len({id(images) for images in seen}) == 8
    assert workload.input_waits_s is None


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("name", ["synthetic", "digits"])
def test_a_loader_feeds_training_and_tells_each_steps_wait(built, num_workers, name):
    workload, step, _ = built(
        data_path="loader", num_workers=num_workers, data=name, memory_format="channels_last", precision="bf16"
    )
    workload.probe()
    assert workload.input_waits_s == []
    for _ in range(3):
        step()
    assert len(workload.input_waits_s) == 3
    assert all(wait > 0 for wait in workload.input_waits_s)
    facts = workload.probe()
    assert (facts["num_workers"], facts["memory_format"], facts["batch_size"]) == (num_workers, "channels_last", 8)
    assert len(workload.input_waits_s) == 3
    workload.reset_health()
    assert workload.input_waits_s == []


def test_waits_of_micro_steps_are_summed_per_step(built):
    workload, step, _ = built(data_path="loader", accumulate=3)
    step()
    step()
    assert len(workload.input_waits_s) == 2


def test_a_loader_outlives_its_epoch(built):
    workload, step, _ = built(data_path="loader", num_workers=1, data="digits", batch_size=256, image_size=8)
    for _ in range(8):
        step()
    assert workload.health().optimizer_steps == 8


def test_close_ends_the_loaders_workers(built):
    workload, step, _ = built(data_path="loader", num_workers=2)
    step()
    assert len(multiprocessing.active_children()) == 2
    workload.close()
    assert multiprocessing.active_children() == []


def test_a_loader_works_in_a_forked_child():
    """Measuring happens in a child forked from the host; its workers are forked from that child."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_step_in_child, args=(sender,))
    child.start()
    assert receiver.poll(60)
    assert receiver.recv() == ("ok", 2)
    child.join(30)
    assert child.exitcode == 0


def _step_in_child(sender):
    from gpubench.worker.workloads.registry import resolve

    torch.set_num_threads(1)
    case = Case(data_path="loader", num_workers=2, data="digits", image_size=8, batch_size=8)
    workload = resolve("cnn")
    step = workload.build(case, "cpu")
    step()
    step()
    sender.send(("ok", len(workload.input_waits_s)))
    workload.close()


def test_an_epoch_takes_every_training_image_at_most_once(digits):
    source = EpochSource(data.prepared(digits, 8).train, Case(batch_size=100), CPU)
    assert source.num_batches == 12
    first = torch.cat([source.fetch()[0] for _ in range(12)])
    assert len(torch.unique(first.flatten(1), dim=0)) == 1200
    second = torch.cat([source.fetch()[0] for _ in range(12)])
    assert not torch.equal(first, second)


@pytest.mark.gpu
@pytest.mark.parametrize("data_path", ["resident", "pinned", "pageable", "loader"])
def test_every_data_path_brings_its_batch_to_the_device(built, data_path):
    workload, step, _ = built(device="cuda", data_path=data_path, num_workers=1 if data_path == "loader" else 0)
    source = workload.source
    if isinstance(source, HostMemoryBatches):
        assert source.batches[0][0].is_pinned() is (data_path == "pinned")
    assert isinstance(source, Loader) is (data_path == "loader")
    images, labels = source.transfer(source.fetch())
    assert images.device.type == labels.device.type == "cuda"
    step()
    assert workload.health().finite is True
