"""`accelerate` and `restore`: what is swapped, what is left and why, what stays as it was."""

import copy
import importlib
import pickle
import sys

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from test_torch_doors import F64, Tagger, assert_same  # noqa: E402

import rnnfast.torch as doors  # noqa: E402

KINDS = {torch.nn.RNN: doors.RNN, torch.nn.LSTM: doors.LSTM, torch.nn.GRU: doors.GRU}


class Own(torch.nn.LSTM):
    def forward(self, input, hx=None):
        return super().forward(input * 2, hx)


def classes(model):
    return [type(m) for m in model.modules()]


def test_swaps_in_place_and_restores():
    model = Tagger()
    before, parameters = classes(model), list(model.parameters())
    keys, modules = list(model.state_dict()), list(model.modules())
    report = doors.accelerate(model)
    assert classes(model) == [KINDS.get(kind, kind) for kind in before]
    assert report.swapped == ["below", "above", "rest"] and report.left == [] and len(report) == 3
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert all(a is b for a, b in zip(model.modules(), modules, strict=True)) and list(model.state_dict()) == keys
    assert "rnnfast.LSTM(6, 8, batch_first=True, bidirectional=True)" in repr(model)
    assert doors.restore(model) == ["below", "above", "rest"] and classes(model) == before
    assert doors.restore(model) == []


def test_report_as_text():
    model = torch.nn.Sequential(torch.nn.LSTM(2, 3), torch.nn.Linear(3, 3), torch.nn.GRU(3, 3))
    report = doors.accelerate(model, lambda module, name: name != "2")
    assert str(report) == "0  swapped  torch.nn.LSTM -> rnnfast.torch.LSTM\n2  left     filter_fn said no"
    assert [tuple(entry) for entry in report] == [
        ("0", True, "torch.nn.LSTM -> rnnfast.torch.LSTM"),
        ("2", False, "filter_fn said no"),
    ]
    assert str(doors.accelerate(torch.nn.Linear(2, 2))) == "no nn.RNN, nn.LSTM or nn.GRU in the model"
    one = torch.nn.GRU(2, 3)
    assert str(doors.accelerate(one)) == "(the model itself)  swapped  torch.nn.GRU -> rnnfast.torch.GRU"
    assert type(one) is doors.GRU


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_what_is_left_and_why():
    model = torch.nn.ModuleDict(
        {
            "own": Own(2, 3),
            "projections": torch.nn.LSTM(2, 3, proj_size=1),
            "meta": torch.nn.GRU(2, 3, device="meta"),
            "float16": torch.nn.RNN(2, 3, dtype=torch.float16),
            "script": torch.jit.script(torch.nn.LSTM(2, 3)),
            "cell": torch.nn.LSTMCell(2, 3),
        }
    )
    before = classes(model)
    report = doors.accelerate(model)
    assert report.swapped == [] and classes(model) == before
    reasons = {entry.name: entry.reason for entry in report}
    assert list(reasons) == ["own", "projections", "meta", "float16", "script"]
    assert "Own is a class derived from PyTorch's" in reasons["own"] and "proj_size=1" in reasons["projections"]
    assert "weight_ih_l0 is on meta" in reasons["meta"] and "torch.float16" in reasons["float16"]
    assert reasons["script"] == "TorchScript runs it"


def test_twice_is_as_once():
    model = Tagger()
    with doors.accelerate(model) as first:
        with doors.accelerate(model) as second:
            assert second.swapped == first.swapped
            assert all(entry.reason.endswith("already") for entry in second)
        assert type(model.below) is doors.LSTM  # the inner block undoes only what it did itself: nothing
    assert type(model.below) is torch.nn.LSTM


def test_a_block_undoes_its_swap_after_an_error():
    model = Tagger()
    with pytest.raises(ZeroDivisionError), doors.accelerate(model):
        assert type(model.above) is doors.GRU
        raise ZeroDivisionError
    assert type(model.above) is torch.nn.GRU


def test_one_module_in_two_places_is_swapped_once():
    shared = torch.nn.LSTM(3, 3)
    model = torch.nn.Sequential(shared, torch.nn.ModuleDict({"again": shared}))
    assert doors.accelerate(model).swapped == ["0"] and model[1]["again"] is shared


def test_tied_weights_and_the_optimizers_state():
    plain = torch.nn.Sequential(torch.nn.LSTM(3, 3, dtype=F64), torch.nn.LSTM(3, 3, dtype=F64))
    plain[1].weight_hh_l0 = plain[0].weight_hh_l0
    ours = copy.deepcopy(plain)
    x = torch.randn(5, 2, 3, dtype=F64)
    for net in (plain, ours):
        optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
        for step in range(6):
            if net is ours and step == 3:
                doors.accelerate(ours)  # in the middle of the training
            optimizer.zero_grad()
            net[1](net[0](x)[0])[0].sin().sum().backward()
            optimizer.step()
    assert ours[1].weight_hh_l0 is ours[0].weight_hh_l0
    assert_same(list(ours.parameters()), list(plain.parameters()))


def test_pickles_name_the_class_and_restored_models_are_pytorchs():
    model = Tagger()
    doors.accelerate(model)
    assert type(pickle.loads(pickle.dumps(model.below))) is doors.LSTM
    doors.restore(model)
    assert b"rnnfast" not in pickle.dumps(model.below)


def test_wrong_arguments():
    with pytest.raises(TypeError, match=r"model: expected a torch.nn.Module, got dict"):
        doors.accelerate({})
    with pytest.raises(TypeError, match=r"model: expected a torch.nn.Module, got type"):
        doors.restore(torch.nn.LSTM)
    with pytest.raises(TypeError, match="filter_fn: expected a callable"):
        doors.accelerate(Tagger(), "lstm")


def test_without_pytorch_the_error_names_the_extra(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "torch" or name.startswith("rnnfast.torch")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r'pip install "rnnfast\[torch\]"'):
        importlib.import_module("rnnfast.torch")
