"""`make bench`: every figure of the serving path, measured in one run beside what it is compared with."""

import argparse

from benchmarks.batches import batches
from benchmarks.models import cycles, many_models, uploads, uploads_under_load
from benchmarks.servers import ends_as_interrupted, running_echo, running_tfaas
from benchmarks.serving import locust, one_client, single_events
from benchmarks.table import HEAD, machine, show

BENCHMARKS = {
    "uploads": lambda url, echo, quick: uploads(url, quick),
    "single": single_events,
    "one": one_client,
    "locust": lambda url, echo, quick: locust(url, quick),
    "batches": lambda url, echo, quick: batches(url, quick),
    "models": lambda url, echo, quick: many_models(url, quick),
    "reuploads": lambda url, echo, quick: uploads_under_load(url, quick),
    "cycles": lambda url, echo, quick: cycles(url, quick),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", choices=BENCHMARKS, help="this one; the model is uploaded all the same")
    parser.add_argument("--quick", action="store_true", help="less of everything, to see that it works")
    options = parser.parse_args()
    print(machine())
    print("The network is 27 → 1024 → 1024 → 1; server and clients share the cores.\n")
    print(HEAD, flush=True)
    with running_echo() as echo, running_tfaas() as url:
        for name, benchmark in BENCHMARKS.items():
            rows = benchmark(url, echo, options.quick) if options.only in (None, name, "uploads") else ()
            if name == "uploads" and options.only not in (None, "uploads"):
                list(BENCHMARKS["uploads"](url, echo, options.quick))
            show(rows)


if __name__ == "__main__":
    ends_as_interrupted(main)
