"""Numbers and names in words, the same in every table, sentence, chart and page."""

import math
import re

from reasoning_lab.statistics import Compared, Interval

MINUS = "\N{MINUS SIGN}"
NOTHING = "–"
"""What stands in a cell without a value."""


def natural_key(text: str) -> tuple[tuple[bool, int, str], ...]:
    """Sort key with numbers compared as numbers: p2 before p10."""
    return tuple((not part.isdecimal(), int(part) if part.isdecimal() else 0, part)
                 for part in re.split(r"(\d+)", text) if part)  # fmt: skip


def visible(text: str) -> str:
    """The text with what no page, SVG or UTF-8 file may hold (controls, lone surrogates) replaced by U+FFFD."""
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\ufffd", text)


def finite(value: float | None) -> float | None:
    """The value, or None when it is no number that JSON can hold."""
    return value if value is not None and math.isfinite(value) else None


def short_label(label: str, longest: int) -> str:
    """The label on one line of at most `longest` characters."""
    clean = " ".join(visible(label).split())
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"


def capital(text: str) -> str:
    """The text with a capital first letter, for the beginning of a sentence."""
    return text[:1].upper() + text[1:]


def counted(n: int, what: str) -> str:
    """'1 row', '16 rows'."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


# --- numbers --------------------------------------------------------------------------------------------------


def decimal(value: float | None, form: str = "{:.2f}") -> str:
    """The number in that form with a true minus sign, a dash for None."""
    return NOTHING if value is None else form.format(value).replace("-", MINUS)


def thousands(value: float) -> str:
    """A whole number, thousands separated by a thin space."""
    return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _percents(interval: Interval, form: str = "{:.1f}") -> tuple[str, ...]:
    return tuple(decimal(100 * x, form) for x in interval)


def percent(interval: Interval | None) -> str:
    """'64.5 [57.6, 70.8]', in percent; a dash for None."""
    return NOTHING if interval is None else "{} [{}, {}]".format(*_percents(interval))


def points(interval: Interval | None) -> str:
    """'+23.0 [+16.5, +29.5]', in percentage points; a dash for None."""
    return NOTHING if interval is None else "{} [{}, {}]".format(*_percents(interval, "{:+.1f}"))


def evidence(interval: Interval) -> str:
    """'+3.5 points, 95 % interval −1.0 to +8.0'."""
    return "{} points, 95 % interval {} to {}".format(*_percents(interval, "{:+.1f}"))


def percent_sentence(interval: Interval) -> str:
    """'76.5 % (70.2 to 81.8)'."""
    return "{} % ({} to {})".format(*_percents(interval))


def relation(compared: Compared) -> str:
    """'clearly above', 'clearly below', or 'no clear difference': see `Compared.is_clear`."""
    if compared.is_clearly_above:
        return "clearly above"
    return "clearly below" if compared.is_clearly_below else "no clear difference"


def related_to(compared: Compared, label: str) -> str:
    """'clearly above LABEL', 'no clear difference from LABEL'."""
    return f"{relation(compared)} {label}" if compared.is_clear else f"{relation(compared)} from {label}"


def probability(p: float) -> str:
    """A p-value to two digits."""
    return "< 1e-12" if p < 1e-12 else f"{p:.2g}"


def tested(compared: Compared) -> str:
    """'+3.5 points, 95 % interval −1.0 to +8.0; McNemar p .12, .36 corrected for 3 comparisons'."""
    n = compared.n_comparisons
    corrected = f", {probability(compared.holm_p)} corrected for {n} comparisons" if n > 1 else ""
    return f"{evidence(compared.difference)}; {compared.test} p {probability(compared.p_value)}{corrected}"


def p_values(compared: Compared | None) -> str:
    """'0.012 | 0.048': p, and p as Holm corrects it; a dash where there is no comparison."""
    return NOTHING if compared is None else f"{probability(compared.p_value)} | {probability(compared.holm_p)}"
