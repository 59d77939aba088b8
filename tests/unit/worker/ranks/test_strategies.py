"""How strategies cut a model, what they refuse, and what a rank of many holds."""

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel
from torch.testing._internal.distributed.fake_pg import FakeStore

from gpubench.suite.model.case import Case
from gpubench.worker.ranks.rank import case_of_rank
from gpubench.worker.ranks.strategies.pp import cuts_of, num_micro_batches
from gpubench.worker.ranks.strategies.seam import layers, own_layers, refused, strategy_named
from gpubench.worker.ranks.strategies.tp import plan_of
from gpubench.worker.workloads.base import Unsupported
from gpubench.worker.workloads.cnn import CNN, ReferenceCNN


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(16, 50)

    def forward(self, tokens):
        return self.head(self.encoder(self.embed(tokens)))


MLP = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.Linear(16, 4))


def names(found):
    return [name for name, _ in found]


def test_layers_are_children_with_parameters_and_the_blocks_of_a_stack():
    assert names(layers(ReferenceCNN())) == ["conv1", "conv2", "fc"]
    blocks = [f"encoder.layers.{number}" for number in range(3)]
    assert names(layers(Tokens())) == ["embed", *blocks, "head"]


def test_layers_that_share_weights_are_not_sharded_one_by_one():
    tied = Tokens()
    tied.head.weight = tied.embed.weight
    assert names(own_layers(tied)) == [f"encoder.layers.{number}" for number in range(3)]


def test_a_pipeline_is_cut_where_the_work_before_is_a_stages_share():
    assert cuts_of(ReferenceCNN(), torch.randn(2, 3, 28, 28), 2, "cnn") == ["conv2"]
    tokens = torch.zeros(2, 5, dtype=torch.int64)
    assert cuts_of(Tokens(), tokens, 4, "net") == ["encoder.layers.1", "encoder.layers.2", "head"]


def test_a_pipeline_needs_a_layer_for_each_rank_and_one_tensor():
    with pytest.raises(Unsupported, match="4 ranks needs as many layers called once; cnn has: conv1, conv2, fc"):
        cuts_of(ReferenceCNN(), torch.randn(2, 3, 28, 28), 4, "cnn")

    class Two(nn.Linear):
        def forward(self, values):
            return super().forward(values), values

    with pytest.raises(Unsupported, match="one tensor"):
        cuts_of(Two(4, 4), torch.randn(2, 4), 2, "net")


def test_looking_for_cuts_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cuts_of(model, torch.randn(2, 3, 2, 2), 2, "net")
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def kinds(plan):
    return {name: type(style) for name, style in plan.items()}


def test_two_linear_layers_in_a_row_are_cut_by_columns_and_by_rows():
    assert kinds(plan_of(MLP, 2)) == {"0": ColwiseParallel, "2": RowwiseParallel, "3": ColwiseParallel}
    found = kinds(plan_of(Tokens(), 2))
    assert found["encoder.layers.0.linear1"] is ColwiseParallel
    assert found["encoder.layers.0.linear2"] is RowwiseParallel


def test_attention_takes_its_weights_itself_so_they_stay_whole():
    assert not any("self_attn" in name for name in plan_of(Tokens(), 2))


def test_a_layer_of_fewer_outputs_than_ranks_stays_whole():
    assert "3" not in plan_of(MLP, 8)


def test_a_modules_own_plan_is_taken():
    class Planned(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = MLP

        def tensor_parallel_plan(self):
            return {"body.0": ColwiseParallel()}

    assert list(plan_of(Planned(), 2)) == ["body.0"]
    wrapped = nn.Sequential(Planned())
    assert list(plan_of(wrapped, 2)) == ["0.body.0"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"strategy": "fsdp2", "mode": "infer"}, "a way to train"),
        ({"strategy": "tp", "precision": "amp-fp16"}, "GradScaler"),
        ({"strategy": "fsdp2", "memory_format": "NHWC"}, "contiguous parameters only"),
        ({"strategy": "fsdp2", "compile": True}, "torch.compile"),
        ({"strategy": "fsdp2", "fused": True}, "no fused sgd"),
        ({"strategy": "tp", "compile": True}, "torch.compile"),
        ({"strategy": "tp", "fused": True}, "no fused sgd"),
        ({"strategy": "pp", "compile": True}, "torch.export"),
        ({"strategy": "pp", "precision": "amp-bf16"}, "autocast"),
        ({"strategy": "pp", "micro_batches": 1}, "needs as many micro-batches, not 1"),
        ({"strategy": "pp", "micro_batches": 3, "batch_size": 8}, "a batch of 16 cannot be divided into 3"),
        ({"strategy": "pp", "batch_size": 12, "scaling": "strong"}, "a batch of 12 cannot be divided into 8"),
    ],
)
def test_what_a_strategy_cannot_do_is_said_before_any_rank_is_started(settings, said):
    case = Case.model_validate({"world_size": 2, **settings})
    assert said in refused(case)
    assert refused(case.model_copy(update={"strategy": "ddp"})) is None


@pytest.mark.parametrize("strategy", ["fsdp2", "tp", "pp"])
def test_a_plain_training_case_and_a_collective_are_not_refused(strategy):
    assert refused(Case(world_size=2, strategy=strategy)) is None
    assert refused(Case(world_size=2, strategy=strategy, mode="infer", workload="collectives:all_reduce")) is None


def test_ranks_that_have_a_part_of_the_model_work_on_the_batch_of_all():
    weak = Case(world_size=4, batch_size=16, strategy="tp")
    assert [case_of_rank(weak, rank).batch_size for rank in (0, 3)] == [64, 64]
    strong = weak.model_copy(update={"scaling": "strong", "strategy": "pp"})
    assert case_of_rank(strong, 1).batch_size == 16
    assert case_of_rank(weak.model_copy(update={"strategy": "fsdp2"}), 1).batch_size == 16


def test_a_pipeline_has_four_micro_batches_for_each_rank_unless_told():
    assert num_micro_batches(Case(world_size=4, strategy="pp")) == 16
    assert num_micro_batches(Case(world_size=4, strategy="pp", micro_batches=6)) == 6


@pytest.fixture
def one_of_64():
    """This process as the first of 64 ranks, of which the others do not exist: what it would send goes nowhere."""
    dist.init_process_group("fake", rank=0, world_size=64, store=FakeStore())
    yield
    dist.destroy_process_group()


def test_fsdp2_leaves_each_of_64_ranks_a_sixty_fourth(one_of_64):
    case = Case(world_size=64, batch_size=4, strategy="fsdp2")
    workload = CNN()
    workload.distribute = lambda model, case: strategy_named("fsdp2").distribute(workload, model, case)
    step = workload.build(case, "cpu")
    own = sum(parameter.to_local().numel() for parameter in workload.model.parameters())
    whole = sum(parameter.numel() for parameter in workload.model.parameters())
    # dim 0 of each is dealt out: 16 and 32 channels and 10 classes, so the first rank has one row of every parameter
    assert own == sum(parameter.numel() // len(parameter) for parameter in workload.model.parameters())
    assert whole / 64 <= own < whole / 10
    step()
    state = [value for each in workload.optimizer.state.values() for value in each.values()]
    assert sum(value.to_local().numel() for value in state) == own


def test_tp_without_a_layer_to_split_says_what_is_missing(one_of_64):
    with pytest.raises(
        Unsupported, match=r"nn.Linear layers of at least 64 outputs, and cnn has none .*tensor_parallel"
    ):
        strategy_named("tp").distribute(CNN(), ReferenceCNN(), Case(world_size=64, strategy="tp"))
