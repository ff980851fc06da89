"""Turn the module of one student into that of S: what has parameters by its stacked form, everything else as it is."""

from __future__ import annotations

from torch import Tensor, nn

from uqkd.errors import OptionError
from uqkd.stacked.layers.basic import Fold, StackedLayer
from uqkd.stacked.layers.mapped import Mapped
from uqkd.stacked.layers.norms import LEAVES


def is_shared(part: nn.Module) -> bool:
    """Whether a module has parameters of its own and all are frozen: the base under adapters, one for all students."""
    own = [p for p in part._parameters.values() if p is not None]
    return bool(own) and not any(p.requires_grad for p in own)


def refuse_unknown(module: nn.Module, *, share_frozen: bool = False) -> None:
    """`OptionError` for a module that has no stacked form: forward hooks, or draws and statistics that no leaf keeps apart."""
    for path, part in module.named_modules():
        if share_frozen and is_shared(part):
            continue
        own = _has_parameters(part)
        hooks = bool(part._forward_hooks or part._forward_pre_hooks) and (own or type(part) in LEAVES)
        if type(part) in LEAVES and not hooks:
            continue
        inside = list(part.modules()) if own else [part]
        what = (
            "forward hooks" if hooks
            else "random draws" if any(map(_drops, inside))
            else "running statistics" if any(map(_tracks, inside))
            else None
        )  # fmt: skip
        if what is not None:
            remedy = (
                "Set its dropout to 0."
                if what == "random draws" and own
                else (
                    f"Build students from {', '.join(sorted(kind.__name__ for kind in LEAVES))} and modules without {what}."
                )
            )
            raise OptionError(
                f"cannot stack {path or 'the module'!r} of class {type(part).__name__}: it has {what}. {remedy}"
            )


def _has_parameters(part: nn.Module) -> bool:
    return any(p is not None for p in part._parameters.values())


def _drops(part: nn.Module) -> bool:
    return isinstance(part, nn.modules.dropout._DropoutNd | nn.RReLU) and getattr(part, "p", 1) > 0


def _tracks(part: nn.Module) -> bool:
    return isinstance(part, nn.modules.batchnorm._NormBase) and part.track_running_stats


def replaced(module: nn.Module, fold: Fold, *, share_frozen: bool = False) -> nn.Module:
    """The module with all that has parameters replaced by its stacked form; shared ones stay, and see all students' rows as one."""
    widened: dict[int, Tensor] = {}

    def widen(tensor: Tensor) -> Tensor:
        if id(tensor) not in widened:
            wide = tensor.detach().expand(fold.students, *tensor.shape).clone()
            parameter = isinstance(tensor, nn.Parameter)
            widened[id(tensor)] = nn.Parameter(wide, requires_grad=tensor.requires_grad) if parameter else wide
        return widened[id(tensor)]

    leaves: dict[int, StackedLayer] = {}

    def visit(part: nn.Module) -> nn.Module:
        kind = LEAVES.get(type(part), Mapped if _has_parameters(part) else None)
        if kind is not None and not (share_frozen and is_shared(part)):
            if id(part) not in leaves:
                leaves[id(part)] = kind(part, fold, widen)
            return leaves[id(part)]
        for name, child in part._modules.items():
            if child is not None:
                part._modules[name] = visit(child)
        return part

    return visit(module)
