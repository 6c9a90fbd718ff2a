"""`python -m app.sandbox`: a stand-in upstream on this machine."""

import argparse
from pathlib import Path
from typing import get_args

from app.sandbox.config import CreditsReported, IdField, IdForm, SandboxConfig
from app.sandbox.faults import Odds, UnknownFault, checked
from app.sandbox.server import serve


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and serve."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        faults = checked(dict(given.fault))
    except (UnknownFault, ValueError) as wrong:
        parser.error(str(wrong))
    config = SandboxConfig(
        data_dir=given.data_dir,
        keys=tuple(given.key) or SandboxConfig.keys,
        speed=given.speed,
        render="tiny" if given.tiny else "full",
        max_in_flight=given.max_in_flight,
        log_lag_seconds=given.log_lag,
        url_seconds=given.url_seconds,
        credits_reported=given.credits,
        cost_headers=not given.no_cost_headers,
        id_form=given.id_form,
        id_field=given.id_field,
        balance_usd=given.balance,
        faults=faults,
        seed=given.seed,
        public_url=given.public_url,
    )
    serve(config, given.host, given.port, exit_with_parent=given.exit_with_parent)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app.sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8901, help="0 takes a free one")
    parser.add_argument("--data-dir", type=Path, required=True, help="its memory and its films")
    parser.add_argument("--key", action="append", default=[], help="an accepted key; may be repeated")
    parser.add_argument("--speed", type=_positive, default=1.0, help="100: what takes 45 s takes 0.45 s")
    parser.add_argument("--tiny", action="store_true", help="every video is the same small one")
    parser.add_argument("--max-in-flight", type=int, default=SandboxConfig.max_in_flight)
    parser.add_argument("--log-lag", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--url-seconds", type=float, default=SandboxConfig.url_seconds, help="life of result URLs")
    parser.add_argument("--credits", choices=get_args(CreditsReported), default="both", help="when costs are reported")
    parser.add_argument("--no-cost-headers", action="store_true")
    parser.add_argument("--id-form", choices=get_args(IdForm), default="by-model")
    parser.add_argument("--id-field", choices=get_args(IdField), default="by-model")
    parser.add_argument("--balance", type=float, default=SandboxConfig.balance_usd, metavar="USD")
    parser.add_argument("--fault", action="append", default=[], type=_chance, metavar="NAME=PROBABILITY")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--public-url", help="where result URLs point, if not where the poll was sent")
    parser.add_argument("--exit-with-parent", action="store_true", help="end when standard input does")
    return parser


def _positive(text: str) -> float:
    if (number := float(text)) <= 0:
        raise argparse.ArgumentTypeError("must be greater than 0")
    return number


def _chance(text: str) -> tuple[str, Odds]:
    name, _, probability = text.partition("=")
    try:
        return name, Odds(float(probability or 1))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PROBABILITY") from None


if __name__ == "__main__":
    main()
