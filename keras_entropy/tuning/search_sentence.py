"""The conclusion of a search in words: who is better, what was tuned for whom, and what was not looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from keras_entropy import _checks
from keras_entropy.study.wording import plural
from keras_entropy.tuning.conclusion import Duel
from keras_entropy.tuning.hypermodel import REGULARIZER
from keras_entropy.tuning.search_result import BASELINE, TERM, ContenderResult


def sentences(
    metric: str, lower: bool, results: Sequence[ContenderResult], duels: Sequence[Duel], tuner: Any
) -> tuple[str, ...]:
    """The conclusion.

    Args:
        metric: String. Name of the metric.
        lower: Boolean. Whether lower values are better.
        results: The contenders: the term, the baseline, then the controls.
        duels: The term against each of the others.
        tuner: `EntropyTuner` of the term.
    """
    baseline = next(result for result in results if result.name == BASELINE)
    rivals = {BASELINE: "the tuned baseline" if baseline.tuned else "the baseline, which was not tuned"}
    parts = [
        f"{metric} ({'lower' if lower else 'higher'} is better) on held-out seeds:",
        *(f"{capital(duel.sentence(TERM, rivals.get(duel.rival, duel.rival)))}." for duel in duels),
        _budgets(results, tuner),
        *_settings(results, tuner),
    ]
    if not duels[0].random:
        parts.append(f"The luck of a {tuner.tuner} search is not part of these p-values.")
    parts += [capital(f"{result.name}: {note}.") for result in results for note in result.notes]
    return tuple(parts)


def _budgets(results: Sequence[ContenderResult], tuner: Any) -> str:
    """What was tuned for whom."""
    common = [name for name in results[0].tuned if all(name in result.tuned for result in results)]
    each = [f"{result.name} {_tuned(result, common)}" for result in results]
    shared = f"All of them tuned {_listed(common)}" if common else "They tuned no hyperparameter in common"
    return f"{shared}, on {plural(len(tuner.seeds), 'seed')} each: {'; '.join(each)}."


def _tuned(result: ContenderResult, common: Sequence[str]) -> str:
    own = [name for name in result.tuned if name not in common]
    failed = len(result.trials) - len(result.completed)
    more = f", {failed} failed" if failed else ""
    return f"in {plural(len(result.trials), 'trial')}{more}{f', with {_listed(own)}' if own else ''}"


def _listed(names: Sequence[str]) -> str:
    *most, last = [_short(name) for name in names]
    return f"{', '.join(most)} and {last}" if most else last


def _settings(results: Sequence[ContenderResult], tuner: Any) -> Iterator[str]:
    """The best setting of each, with its mean on the seeds of the search."""
    kinds = list(tuner.hypermodel.regularizers)
    only = {REGULARIZER: kinds[0]} if len(kinds) == 1 else {}
    for result in results:
        values = {**(only if result.name == TERM else {}), **result.values}
        words = f"{_in_words(values)}, " if values else ""
        yield f"The best setting of {result.name}: {words}mean {result.score:.5g} on the seeds of the search."


def _in_words(values: Mapping[str, Any]) -> str:
    def text(value: Any) -> str:
        return f"{value:.3g}" if isinstance(value, float) else _checks.printable(value)

    return ", ".join(f"{_short(name)} {text(value)}" for name, value in values.items())


def _short(name: str) -> str:
    return _checks.printable(name.removeprefix("entropy/").replace("_", " "))


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]
