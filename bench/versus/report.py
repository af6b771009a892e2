"""The Markdown report."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from cases import CASES, REFERENCE, VARIANTS
from measure import NOISY, Run
from stand import Bench


def spread(values: Sequence[float], places: int) -> str:
    """Median (minimum–maximum), or a dash."""
    if not values:
        return "–"
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{places}f} ({low:.{places}f}–{high:.{places}f})"


def ratios(runs: Sequence[Run], case: str, figure: str, opponent: str) -> list[float]:
    """sluice's figure over the opponent's, one value per round where both are valid."""
    cost = {
        (r.round, r.proxy): r.figures[figure]
        for r in runs
        if r.case == case and not r.problems
    }  # fmt: skip
    return [
        ours / cost[number, opponent]
        for (number, proxy), ours in sorted(cost.items())
        if proxy == REFERENCE and cost.get((number, opponent))
    ]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, first column left, the others right aligned."""
    rule = [":--"] + ["--:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(r) + " |" for r in (head, rule, *rows))


def report(bench: Bench, runs: list[Run], facts: dict[str, str], proxies: list[str]) -> str:
    """The whole Markdown report."""
    cases = list(dict.fromkeys(r.case for r in runs))
    columns = [REFERENCE, *(p for p in proxies if p != REFERENCE and p not in VARIANTS)]
    columns += [p for p in proxies if p in VARIANTS]
    with_sluice = REFERENCE in proxies

    def picked(case: str, proxy: str) -> list[Run]:
        return [r for r in runs if (r.case, r.proxy) == (case, proxy) and not r.problems]

    summary = []
    for case in cases:
        places = CASES[case].places
        for figure in CASES[case].figures:
            row = [f"{case}, {figure}"]
            row += [spread([r.figures[figure] for r in picked(case, p)], places) for p in columns]
            row += [spread(ratios(runs, case, figure, p), 3) for p in columns[1:]]
            summary.append(row)
    units = list(columns)
    if with_sluice:
        units += [f"sluice/{p}" for p in columns[1:]]
    else:
        summary = [row[: 1 + len(columns)] for row in summary]

    aside = []
    for case in (c for c in cases if not CASES[c].holds):
        for proxy in columns:
            if good := picked(case, proxy):
                med = {
                    k: statistics.median(getattr(r, k) for r in good)
                    for k in ("rate", "us_per_mib", "core_used", "waited", "others", "steal",
                              "load_core", "ksoftirqd_us", "accepts", "threads", "lost", "late")
                }  # fmt: skip
                per_mib = f"{med['us_per_mib']:.1f}" if CASES[case].body >= 16384 else "–"
                shares = ("core_used", "waited", "others", "steal", "load_core")
                aside.append([
                    case, proxy, f"{med['rate']:.0f}", per_mib,
                    *(f"{100 * med[k]:.1f} %" for k in shares),
                    f"{med['ksoftirqd_us']:.2f}", f"{med['accepts']:.0f}", f"{med['threads']:.0f}",
                    f"{med['lost']:.0f}", f"{med['late']:.0f}" if CASES[case].open else "–",
                ])  # fmt: skip

    every = [
        [r.case, str(r.round), r.proxy, str(r.requests), r.told,
         f"{100 * r.core_used:.1f} %", f"{100 * r.waited:.1f} %", f"{100 * r.steal:.1f} %",
         "INVALID: " + "; ".join(r.problems) if r.problems else "; ".join(r.warnings) or "ok"]
        for r in runs
    ]  # fmt: skip
    invalid = sum(bool(r.problems) for r in runs)
    noisy = sum(not r.problems and max(r.others, r.steal) > NOISY for r in runs)
    lines = ["# sluice, haproxy and nginx side by side", ""]
    lines += [f"- {k}: {v}" for k, v in facts.items()]
    lines += [f"- **caution**: {c}" for c in bench.cautions]
    lines += [
        "",
        f"Cost is CPU time of the proxy per completed request, connection or datagram (there and "
        f"back), as median (min–max) over the "
        f"rounds: the growth of `/proc/PID/task/*/schedstat` over a window of "
        f"{bench.args.seconds} s, summed over every thread of every process of that proxy, "
        f"divided by what the load completed; in the idle cases, growth of its memory (PSS) over the "
        f"connections held; in open-loop also the latency of requests that come at a constant "
        f"rate, from when each was due. A ratio is formed within each round; its "
        f"median (min–max) is shown. Below 1 sluice is cheaper.",
        "",
        f"**{invalid} of {len(runs)} runs were invalid and are left out.**"
        if invalid
        else f"All {len(runs)} runs were valid.",
        *([f"**{noisy} of them shared the proxy's core with other work** (more than "
           f"{100 * NOISY:.0f} % of it); trust the ratios more than the absolute costs, and "
           "neither very far."] if noisy else []),
        "",
        table(["case", *units], summary),
        "",
        "## Alongside",
        "",
        "Medians. *core used*: the proxy's CPU time over the window; below about 95 % the proxy "
        "was not the limit, so units/s is not its capacity. *waited*: runnable but not "
        "running. *others* and *steal*: the proxy's core taken by other processes here, or by "
        "the hypervisor. *load core*: how busy load and backend kept theirs. "
        "*ksoftirqd*: network work on the proxy's core outside the proxy, not in the cost. "
        "*accepts*: connections the backend accepted during the window, health "
        "checks included. *late*: what an open loop's load was late by itself, p99.9 in µs.",
        "",
        table(["case", "proxy", "units/s", "µs/MiB", "core used", "waited", "others", "steal",
               "load core", "ksoftirqd µs", "accepts", "threads", "lost", "late"], aside),
        "",
        "## What was checked",
        "",
        "Every path by a whole body or an echo, and that it leads through the processes measured."
        if not bench.tls
        else "TLS as negotiated with the load's client settings: "
        + "; ".join(f"{p}: {v}" for p, v in bench.tls.items()) + ".",
        "",
        *(["Request headers at the backend, over TLS: "
           + "; ".join(f"{p} ({len(v)}): {', '.join(v)}" for p, v in bench.headers.items())
           + ".", ""] if bench.headers else []),
        *(["TLS handshakes in a second, counted: "
           + "; ".join(f"{p}: {v}" for p, v in bench.handshakes.items())
           + ". OpenSSL's second connection was resumed by each.", ""]
          if bench.handshakes else []),
        "## Every run",
        "",
        table(["case", "round", "proxy", "units", "figures", "core used", "waited", "steal",
               "verdict"], every),
        "",
    ]  # fmt: skip
    return "\n".join(lines)
