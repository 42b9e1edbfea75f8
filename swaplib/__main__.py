"""Run a swaplib command; on a fresh machine, make the environment for it first."""

import sys

COMMANDS = {
    "list": "show the notebooks: question, parameters with type, default and help",
    "run": "execute notebooks into results/, with an index of their answers",
    "regenerate": "execute notebooks in place and clean their metadata",
    "compare": "say of measured runs, arm by arm, whether a difference is real",
    "probe": "measure exits with swapped-out memory on this machine",
    "test": "lint, types, tests and the notebooks' stored outputs, with the locked versions",
    "lab": "open the notebooks in JupyterLab; what follows -- goes to jupyter lab",
}

OLDEST = (3, 11)
NEWEST = (3, 14)


def main(argv=None):
    # type: (list[str] | None) -> int
    """Run one command and return its exit status: 0 fine, 1 something failed, 2 wrong use.

    argv: the command and its arguments; ``sys.argv[1:]`` if None.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    refusal = refuse(sys.version_info)
    if refusal:
        return _complain(refusal)
    word = arguments[0] if arguments else "--help"
    if word in ("-h", "--help", "help"):
        print(usage())
        return 0
    if word == "--version":
        import swaplib

        print("swaplib " + swaplib.__version__)
        return 0
    if word not in COMMANDS:
        return _complain("unknown command {!r}; expected one of: {}".format(word, ", ".join(COMMANDS)))
    from swaplib import bootstrap

    try:
        return bootstrap.start(arguments)
    except KeyboardInterrupt:
        sys.stderr.write("\nswaplib: interrupted\n")
        return 130


def refuse(version):
    # type: (tuple) -> str
    """Say in a sentence why this version of Python cannot run swaplib; empty if it can.

    version: major and minor number first, like ``sys.version_info``.
    """
    if OLDEST <= tuple(version[:2]) <= NEWEST:
        return ""
    found = ".".join(str(part) for part in version[:3])
    sentence = "Python {}.{} to {}.{} is needed and this is Python {}; call one of those, as in python3.12 -m swaplib"
    return sentence.format(*OLDEST, *NEWEST, found)


def usage():
    # type: () -> str
    """Describe the commands, one a line."""
    lines = ["usage: python3 -m swaplib COMMAND [options]", ""]
    lines += ["  {:<12}{}".format(word, text) for word, text in COMMANDS.items()]
    lines += ["", "python3 -m swaplib COMMAND --help shows the options of a command."]
    lines += ["Where requirements are missing, .venv is made from requirements.lock first."]
    return "\n".join(lines)


def _complain(sentence):
    # type: (str) -> int
    sys.stderr.write("swaplib: {}\n".format(sentence))
    return 2


if __name__ == "__main__":
    sys.exit(main())
