"""Explanations as JSON, format vmatrace-explain/1: one object on one line. Integers are bytes."""

from __future__ import annotations

from typing import Any, Final, TextIO

from vmatrace import abi
from vmatrace.commands.explain import advice
from vmatrace.commands.explain.elsewhere import Answer, BorderCause
from vmatrace.commands.explain.lives import LifeEvent
from vmatrace.commands.explain.question import (
    Account,
    Attempt,
    BorderAccount,
    Contrast,
    Overview,
    anon_state,
)
from vmatrace.commands.explain.survey import Moment
from vmatrace.commands.explain.words import policy
from vmatrace.commands.form import Each, Form
from vmatrace.engine import merge
from vmatrace.engine.merge import Side, blockers
from vmatrace.event import Event
from vmatrace.layout import Mapping
from vmatrace.render import lognotes
from vmatrace.render.jsonform import encode, mapping_json

FORMAT: Final = "vmatrace-explain/1"
SUFFIXES: Final = (".json", ".jsonl")


def form(out: TextIO, count: int) -> Form[Account | Overview]:
    """One object."""
    return Each(out, write)


def write(out: TextIO, what: Account | Overview) -> None:
    """Write one object."""
    document = _account(what) if isinstance(what, Account) else _overview(what)
    out.write(encode(document) + "\n")


def _head(what: Account | Overview) -> dict[str, Any]:
    result, notes = what.result, what.notes
    return {
        "format": FORMAT,
        "trace": result.trace,
        "path": result.path,
        "kernel": result.kernel,
        "page_size": result.page_size,
        "divergences": result.diverged,
        **({"log": lognotes.as_json(notes)} if notes is not None else {}),
    }


def _account(account: Account) -> dict[str, Any]:
    borders = [b for b in (account.lower, account.upper) if b is not None]
    return {
        **_head(account),
        "asked": account.asked,
        "pid": account.pid,
        "address": account.address,
        "vma": _mapping(account.mapping),
        "anon": account.anon,
        "history": [_change(change) for change in account.history],
        "before": _range(account.before),
        "below": _mapping(account.below),
        "above": _mapping(account.above),
        "borders": [_border(border) for border in borders],
    }


def _overview(overview: Overview) -> dict[str, Any]:
    return {
        **_head(overview),
        "asked": "all",
        "processes": overview.processes,
        "vmas": overview.vmas,
        "borders": [_border(border) for border in overview.borders],
    }


def _mapping(mapping: Mapping | None) -> dict[str, Any] | None:
    return mapping_json(mapping) if mapping is not None else None


def _range(side: Side | None) -> dict[str, Any] | None:
    if side is None:
        return None
    codes = abi.vm_flag_codes(side.attributes.flags)
    return {"start": side.start, "end": side.end, "vmflags": codes}


def _moment(moment: Moment | None) -> dict[str, Any] | None:
    """None stands for the start."""
    if moment is None:
        return None
    event = moment.event
    return {"index": moment.nth, "line": event.line, "pid": event.pid, "call": event.text}


def _event(event: Event | None) -> dict[str, Any] | None:
    if event is None:
        return None
    return {"line": event.line, "pid": event.pid, "call": event.text}


def _change(change: LifeEvent) -> dict[str, Any]:
    return {
        "kinds": change.kinds,
        "times": change.times,
        "first": _moment(change.first),
        "last": _moment(change.last),
        "after": _range(change.after),
        "flags_set": abi.vm_flag_codes(change.set),
        "flags_cleared": abi.vm_flag_codes(change.cleared),
    }


def _border(border: BorderAccount) -> dict[str, Any]:
    life = border.life
    return {
        "pid": border.pid,
        "address": border.address,
        "below": mapping_json(border.below),
        "above": mapping_json(border.above),
        "touching": {"since": _moment(life.since), "was": life.was},
        "attempt": _attempt(border.attempt),
        "today": _contrast(border.today),
        "models": _answer(border.answer),
        "causes": [_cause(cause) for cause in border.answer.causes] if border.answer else None,
        "advice": advice.advice(border),
    }


def _attempt(attempt: Attempt | None) -> dict[str, Any] | None:
    if attempt is None:
        return None
    return {
        "event": _event(attempt.event),
        "op": attempt.op,
        "range": "above" if attempt.upper else "below",
        **_contrast(attempt.then),
    }


def _contrast(contrast: Contrast) -> dict[str, Any]:
    """No reasons: the two would be one VMA if a call tried to merge them."""
    reasons = blockers(contrast.mask & ~merge.NOTHING_THERE)
    below, above = contrast.flags
    continued, own = contrast.pgoff
    return {
        "reasons": [reason.code for reason in reasons],
        "flags_below": abi.vm_flag_codes(below),
        "flags_above": abi.vm_flag_codes(above),
        "opened_twice": contrast.opened_twice,
        "pgoff": {"continued": continued, "own": own},
        "sides": [_side(contrast.below), _side(contrast.above)],
    }


def _side(side: Side) -> dict[str, Any]:
    attributes = side.attributes
    file, extra = attributes.file, attributes.extra
    return {
        "start": side.start,
        "end": side.end,
        "vmflags": abi.vm_flag_codes(attributes.flags),
        "file": file.path if file is not None else None,
        "anon_vma": anon_state(side),
        "name": extra.name if extra is not None else None,
        "policy": policy(extra.policy) if extra is not None else None,
        "uffd": extra.uffd if extra is not None else 0,
        "displaced": extra.displaced if extra is not None else 0,
    }


def _answer(answer: Answer | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    return {
        name: {"state": verdict.state, "vma": _mapping(verdict.mapping)}
        for name, verdict in answer.verdicts.items()
    }


def _cause(cause: BorderCause) -> dict[str, Any]:
    return {
        "before": cause.before,
        "after": cause.after,
        "becomes": cause.becomes,
        "features": [
            {"name": f.name, "added": added, "commit": f.commit, "release": f.release}
            for f, added in cause.features
        ],
    }
