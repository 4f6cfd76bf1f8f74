"""The command line: `desed-task VERB`, one module per verb, loaded only when it is asked for.

desed-task serve --bundle DIR                answer over HTTP
desed-task tag FILE... --bundle DIR          say what recordings hold; knows nothing of HTTP
desed-task key NAME                          make an API key of the service
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from desed_task.command_line import RecipeParser, run_recipe


def main() -> None:
    """The console script: a verb and its flags."""
    run_recipe(_run_verb)


def _serve(argv: Sequence[str]) -> int:
    from serving.server import serve

    return serve(argv)


def _tag(argv: Sequence[str]) -> int:
    from serving.tag.tagging import tag

    return tag(argv)


def _key(argv: Sequence[str]) -> int:
    from serving.http.keys import make_key

    return make_key(argv)


_VERBS: dict[str, Callable[[Sequence[str]], int]] = {"key": _key, "serve": _serve, "tag": _tag}


def _run_verb(argv: Sequence[str]) -> int:
    parser = RecipeParser(prog="desed-task", description="Sound event detection and tagging with a bundle.")
    parser.add_argument(
        "verb",
        choices=sorted(_VERBS),
        help="serve: answer over HTTP; tag: say what recordings hold; key: make an API key",
    )
    verb = parser.parse_args(argv[:1]).verb
    return _VERBS[verb](argv[1:])
