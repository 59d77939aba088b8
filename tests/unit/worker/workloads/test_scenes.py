"""Scenes of digits, the networks for them, and what predictions are worth."""

import pytest
import torch

from gpubench.worker.workloads.classifier import datasets
from gpubench.worker.workloads.vision import scenes, scores
from gpubench.worker.workloads.vision.retinanet import Detector
from gpubench.worker.workloads.vision.unet import UNet


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits")


@pytest.fixture(scope="module")
def few(digits):
    return scenes.make(digits.train, 48, seed=5)


def num_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_a_scene_has_one_to_three_digits_whose_boxes_hold_their_pixels(few):
    for mask, boxes, labels in zip(few.masks_NSS, few.boxes_NB4, few.labels_NB, strict=True):
        kept = labels >= 0
        assert 1 <= kept.sum() <= 3
        inside = torch.zeros_like(mask, dtype=torch.bool)
        for (x0, y0, x1, y1), label in zip(boxes[kept].tolist(), labels[kept].tolist(), strict=True):
            part = mask[y0:y1, x0:x1]
            assert part.unique().tolist() == [0, label + 1]
            assert part[0].any()
            assert part[-1].any()
            assert part[:, 0].any()
            assert part[:, -1].any()
            inside[y0:y1, x0:x1] = True
        assert not mask[~inside].any()


def test_the_same_seed_makes_the_same_scenes_on_every_machine(digits, few):
    assert few.digest() == "e39e74fa1257c7ef"
    assert scenes.make(digits.train, 48, seed=6).digest() != few.digest()


def test_the_networks_have_as_many_parameters_as_the_docs_say():
    assert num_parameters(UNet(11)) == 251_467
    assert num_parameters(Detector(10)) == 437_364


def test_a_detector_returns_losses_in_training_and_boxes_afterwards(few):
    images = few.images_NSS[:2, None].expand(-1, 3, -1, -1) / 255
    inputs = {"images": images, "boxes": few.boxes_NB4[:2].float(), "labels": few.labels_NB[:2]}
    detector = Detector(10)
    trained, found = detector(inputs), detector.eval()(inputs)
    assert trained["loss"].isfinite()
    assert trained["logits"].shape == found["logits"].shape == (2, 16 * 16 * 6, 10)
    assert [set(one) for one in found["detections"]] == [{"boxes", "labels", "scores"}] * 2


def test_a_new_detector_lets_features_through_to_its_logits():
    torch.manual_seed(0)
    head, features = Detector(10).net.head, torch.randn(4, 64, 16, 16)
    for branch in (head.classification_head, head.regression_head):
        assert 0.2 < branch.conv(features).std() < 2
    assert head.classification_head.cls_logits(head.classification_head.conv(features)).std() > 0.05


def test_masks_that_are_right_have_an_iou_of_one_and_trivial_ones_of_little(few):
    assert scores.mean_iou(few.masks_NSS, few.masks_NSS) == 1
    trivial = scores.trivial_masks(few, few)
    assert len(trivial) == 2
    assert all(scores.mean_iou(masks, few.masks_NSS) < 0.15 for masks in trivial.values())


@pytest.mark.slow
def test_true_boxes_have_a_mean_precision_of_one_and_trivial_ones_of_little(few):
    pytest.importorskip("torchmetrics")
    pytest.importorskip("faster_coco_eval")
    truth = scores.true_boxes(few)
    found = [{**one, "scores": torch.ones(len(one["labels"]))} for one in truth]
    assert scores.mean_precision(found, truth) == {"map": pytest.approx(1), "map50": pytest.approx(1)}
    (trivial,) = scores.trivial_boxes(few, few).values()
    assert scores.mean_precision(trivial, truth)["map"] < 0.1
