"""`python -m benchmarks`: measures the server on this machine and prints and saves the figures."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import uvloop
from rich.console import Console

from benchmarks import audit, consents, matching, scale, tokens
from benchmarks.page import markdown
from benchmarks.run import Plan, run

RESOURCES_PER_PATIENT = 145
WIDTH = 180


def plan(arguments: argparse.Namespace) -> Plan:
    """How much to measure."""
    quick: bool = arguments.quick
    resources = arguments.resources
    if arguments.patients:
        resources = arguments.patients * RESOURCES_PER_PATIENT
    return Plan(
        resources=resources or (10_000 if quick else 100_000),
        creates=2_000 if quick else 20_000,
        seconds=2.0 if quick else 8.0,
        searches=300 if quick else 1_000,
        workers=arguments.workers,
        seed=arguments.seed,
    )


def main() -> int:
    """Runs it; 1 when the server could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--patients", type=int, help="how many patients to ingest")
    size.add_argument("--resources", type=int, help="how many resources to ingest, about")
    size.add_argument("--scale", type=int, nargs="*", help="searches alone, at these sizes (300000 3000000)")
    size.add_argument("--tokens", action="store_true", help="only what a token costs")
    size.add_argument("--consents", action="store_true", help="only what consents cost")
    size.add_argument("--audit", action="store_true", help="only what the audit trail costs")
    size.add_argument(
        "--matching", type=int, nargs="?", const=matching.PATIENTS, help="only $match, among so many"
    )
    parser.add_argument("--page", type=Path, help="where --scale and --consents write Markdown")
    parser.add_argument("--workers", type=int, default=1, help="server processes (1)")
    parser.add_argument("--seed", type=int, default=1, help="another number makes other data")
    parser.add_argument("--quick", action="store_true", help="about a minute, less exact")
    parser.add_argument(
        "--json", type=Path, default=Path("benchmark.json"), help="where to write the figures"
    )
    arguments = parser.parse_args()
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)  # a log has no edge to wrap at
    try:
        if arguments.scale is not None:
            sizes = arguments.scale or [300_000, 3_000_000]
            found = uvloop.run(scale.run(plan(arguments), sizes, console))
            if arguments.page is not None:
                arguments.page.write_text(markdown(found))
            return 0
        made = plan(arguments)
        if arguments.matching:
            results = uvloop.run(matching.alone(made, arguments.matching, console))
        elif arguments.tokens or arguments.consents or arguments.audit:
            alone = (tokens if arguments.tokens else consents if arguments.consents else audit).alone
            results = uvloop.run(alone(made.resources, made.seconds, made.workers, made.seed, console))
        else:
            results = uvloop.run(run(made, console))
    except (RuntimeError, OSError) as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        return 1
    if arguments.consents and arguments.page is not None:
        consents.write(arguments.page, results)
    results.show(console)
    results.save(arguments.json)
    console.print(f"\n{results.facts}\nwritten to {arguments.json}", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
