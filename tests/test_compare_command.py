"""`swaplib compare` prints of a file what fits a mail, a page or a program, or says what is wrong with it."""

import json
import subprocess
import sys

import pytest

from swaplib import cli

RUNS = "before_ms,after_ms\n" + "".join(f"{100 + i},{80 + 2 * i}\n" for i in range(6))
ARMS = ("before", "after\x07")
HOSTILE = "arm,metric,value\n" + "".join(f"{arm},{{}},{v}\n" for arm in ARMS for v in (1, 2, 3))


@pytest.fixture
def compare(tmp_path, monkeypatch, capsys):
    """Run the command on a file, giving status, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(content, *options, name="runs.csv"):
        if content is not None:
            (tmp_path / name).write_text(content)
        status = cli.main(["compare", name, *options])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_the_text_fits_a_mail_and_says_how_to_make_it_again(compare):
    status, out, _ = compare(RUNS, "--better", "lower", "--kernel", "6.18")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 80
    assert "-17.1 %" in out, "85 less 102.5 of 102.5"
    for told in ("n=6+6", "command: swaplib compare", "runs.csv --better lower", "kernel: 6.18"):
        assert told in out


def test_base_and_arms_of_a_wide_file_are_those_that_are_named(compare):
    _, out, _ = compare("x,y,z\n1,9,5\n2,8,6\n3,7,4\n", "--base", "y", "--arms", "y,x")
    assert "y (base) against x\n" in out


def test_of_several_files_each_is_an_arm_and_the_first_the_base(compare, tmp_path):
    (tmp_path / "after.csv").write_text("ms,value\n1,3\n2,4\n")
    _, out, _ = compare("value\n1\n2\n", "after.csv", name="before.csv")
    assert "before (base) against after\n" in out


@pytest.mark.parametrize("form", ["--text", "--markdown", "--json"])
def test_control_characters_never_reach_the_terminal(compare, form):
    status, out, err = compare(HOSTILE.format(*["\x1b[2Jx"] * 6), form, name="a\x1bb.csv")
    assert status == 0
    assert all(c.isprintable() or c == "\n" for c in out + err)


def test_what_was_assumed_is_said_beside_the_table_and_not_in_it(compare):
    _, out, err = compare("before;after\n1,5;2,5\n2,5;3,5\n3;4\n")
    assert "swaplib: note: runs.csv: took ';' as separator" in err
    assert "note: runs.csv does not say which direction is better: took lower" in err
    assert "note:" not in out


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        ("before,after\n1,x\n2,3\n", [], "runs.csv, row 2: column 'after' is 'x'; expected a number"),
        ("before,after\n\n10,9\n20,\n31,29\n", ["--paired"], "row 4: column 'run' is 2; expected pairs"),
        (RUNS, ["--base", "old"], "no column is 'old' in"),
        (RUNS, ["--arms", "before,new"], "no column is 'new' in"),
        ("", [], "runs.csv is empty"),
        (None, [], "runs.csv does not exist"),
        (RUNS, ["--text", "--json"], "not allowed with argument"),
        (RUNS, ["--better", "up"], "invalid choice: 'up'"),
        ("arm,run,value\nbefore,1,1\nbefore,1,2\nafter,1,1\nafter,2,1\n", [], "runs.csv, row 3: "),
        ('{"results": []}', [], "expected hyperfine's"),
    ],
)
def test_a_file_or_option_that_is_wrong_gives_status_2_and_no_table(compare, content, options, words):
    status, out, err = compare(content, *options)
    assert (status, out) == (2, "")
    assert words in err


def test_the_command_answers_as_a_program_of_its_own(tmp_path):
    (tmp_path / "runs.csv").write_text(RUNS)
    code = "import sys; from swaplib.cli import main; sys.exit(main(['compare', 'runs.csv', '--json']))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 0
    assert json.loads(ended.stdout)
