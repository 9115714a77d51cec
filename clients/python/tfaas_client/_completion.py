"""Scripts that let a shell complete the command line, made from its parser."""

import argparse
from collections.abc import Iterable, Mapping
from typing import Any

BASH = """\
_tfaas_client() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} word command= words=
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case $word in @commands@) command=$word; break;; esac
    done
    case $command in
@cases@
    esac
    case $command:$previous in
        @named@|score:--model)
            words=$(tfaas-client --timeout 2 --retries 0 models 2>/dev/null | awk 'NR > 1 {print $1}');;
        *) [[ $current == -* || -z $command ]] || words=;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _tfaas_client tfaas-client
"""

SCRIPTS: Mapping[str, str] = {"bash": BASH, "zsh": "autoload -U +X bashcompinit && bashcompinit\n" + BASH}


class PrintCompletion(argparse.Action):
    """Prints the script for a shell and ends, as --help does."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, shell: Any, option: str | None = None) -> None:
        print(script(shell, parser), end="")
        parser.exit()


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """Returns what a shell evaluates; models are completed by asking the server."""
    commands = next(action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    cases = [f'        {name}) words="{" ".join(_options(command))}";;' for name, command in commands.items()]
    cases.append(f'        *) words="{" ".join([*commands, *_options(parser)])}";;')
    named = [f"{name}:{name}" for name, command in commands.items() if "MODEL" in _positionals(command)]
    replaced = {"commands": "|".join(commands), "cases": "\n".join(cases), "named": "|".join(named)}
    text = SCRIPTS[shell]
    for name, value in replaced.items():
        text = text.replace(f"@{name}@", value)
    return text


def _options(parser: argparse.ArgumentParser) -> Iterable[str]:
    return [option for action in parser._actions for option in action.option_strings if option.startswith("--")]


def _positionals(parser: argparse.ArgumentParser) -> Iterable[object]:
    return [action.metavar for action in parser._actions if not action.option_strings]
