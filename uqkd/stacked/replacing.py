"""Turn the module of one student into that of S: known leaves by their stacked forms, everything else as it is."""

from __future__ import annotations

from torch import Tensor, nn

from uqkd.errors import OptionError
from uqkd.stacked.leaves import Fold, Leaf
from uqkd.stacked.norms import LEAVES


def is_shared(part: nn.Module) -> bool:
    """Whether a module has parameters of its own and all are frozen: the base under adapters, one for all students."""
    own = [p for p in part._parameters.values() if p is not None]
    return bool(own) and not any(p.requires_grad for p in own)


def refuse_unknown(module: nn.Module, *, share_frozen: bool = False) -> None:
    """`OptionError` for a module with parameters or random draws of its own that is not a known leaf."""
    for path, part in module.named_modules():
        if share_frozen and is_shared(part):
            continue
        drops = isinstance(part, nn.modules.dropout._DropoutNd | nn.RReLU) and getattr(part, "p", 1) > 0
        norm = isinstance(part, nn.modules.batchnorm._NormBase) and part.track_running_stats
        hooks = part._forward_hooks or part._forward_pre_hooks
        if type(part) in LEAVES and not hooks:
            continue
        if any(p is not None for p in part._parameters.values()) or drops or norm or (hooks and type(part) in LEAVES):
            what = "forward hooks" if hooks else "random draws" if drops else "parameters or statistics of its own"
            raise OptionError(
                f"cannot stack {path or 'the module'!r} of class {type(part).__name__}: it has {what}. "
                f"Build students from {', '.join(sorted(kind.__name__ for kind in LEAVES))} and modules without parameters."
            )


def replaced(module: nn.Module, fold: Fold, *, share_frozen: bool = False) -> nn.Module:
    """The module with every known leaf replaced by its stacked form; shared ones stay, and see all students' rows as one."""
    widened: dict[int, Tensor] = {}

    def widen(tensor: Tensor) -> Tensor:
        if id(tensor) not in widened:
            wide = tensor.detach().expand(fold.students, *tensor.shape).clone()
            parameter = isinstance(tensor, nn.Parameter)
            widened[id(tensor)] = nn.Parameter(wide, requires_grad=tensor.requires_grad) if parameter else wide
        return widened[id(tensor)]

    leaves: dict[int, Leaf] = {}

    def visit(part: nn.Module) -> nn.Module:
        kind = LEAVES.get(type(part))
        if kind is not None and not (share_frozen and is_shared(part)):
            if id(part) not in leaves:
                leaves[id(part)] = kind(part, fold, widen)
            return leaves[id(part)]
        for name, child in part._modules.items():
            if child is not None:
                part._modules[name] = visit(child)
        return part

    return visit(module)
