from __future__ import annotations

import io

import pytest
from PIL import Image


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.new("RGB", (6, 4), "red").save(path)
    return str(path)


@pytest.fixture
def call(runner, served, monkeypatch):
    monkeypatch.setenv("RUNNER_API_BASE", served)
    return lambda *argv: runner("call", *argv)


def test_an_image_by_its_path(call, picture):
    assert call("size", "--picture", picture) == (0, '{"height": 4, "width": 6}\n', "")
    assert call("size", "--picture", f"@{picture}")[:2] == (0, '{"height": 4, "width": 6}\n')


def test_where_the_time_went(call, picture):
    for argv in (["size", "--picture", picture], ["add", "--items", "1"]):
        code, _, err = call(*argv, "--timing")
        assert code == 0
        assert [part.split()[0] for part in err.split("  ")] == ["queue", "wait", "decode", "run", "encode", "batch"]


def test_an_image_into_a_file(call, picture, tmp_path):
    saved = str(tmp_path / "flipped.png")
    code, out, err = call("--save", saved, "flip", "--picture", picture)
    assert (code, out) == (0, "")
    assert saved in err
    with Image.open(saved) as image:
        assert image.size == (6, 4)


def test_a_stream_into_files(call, tmp_path):
    saved = tmp_path / "sum.txt"
    code, out, err = call("add", "--items", "1", "--items", "2", "--save", str(saved))
    assert (code, out) == (0, "")
    assert err == f"{tmp_path}/sum-1.txt: 2 bytes\n{tmp_path}/sum-2.txt: 2 bytes\n"
    assert [(tmp_path / f"sum-{number}.txt").read_text() for number in (1, 2)] == ["1\n", "2\n"]
    assert not saved.exists()


def test_a_file_that_cannot_be_written(call, picture):
    nowhere = "/no/such/directory/x.png"
    assert call("flip", "--picture", picture, "--save", nowhere) == (
        1,
        "",
        f"runner: {nowhere}: No such file or directory\n",
    )


def test_a_stream_of_options(call):
    assert call("add", "--items", "1", "--items", "2", "--start", "10") == (0, "11\n12\n", "")
    assert call("add", "--items", "1", "--items", "2", "--join")[:2] == (0, "12\n")
    assert call("add")[:2] == (0, "")


def test_a_stream_of_lines(call, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("1\n2\n"))
    assert call("add", "--items", "-") == (0, "1\n2\n", "")


def test_options_of_ours_stand_on_either_side(call, served):
    for argv in (("--url", served, "named", "--arg", "timeout=5"), ("named", "--arg", "timeout=5", "--url", served)):
        assert call(*argv) == (0, "5.0  \n", "")


def test_arguments_named_like_our_options(call):
    argv = ("--timeout", "9", "named", "--arg", "timeout=5", "--arg", "help=h", "--arg", "arg=a")
    assert call(*argv) == (0, "5.0 h a\n", "")


@pytest.mark.parametrize(
    ("said", "printed"),
    [(["--shout"], "5.0 H "), (["--shout", "true"], "5.0 H "), (["--shout", "no"], "5.0 h "), ([], "5.0 h ")],
)
def test_a_bool_may_be_an_option_alone(call, said, printed):
    assert call("named", "--arg", "timeout=5", "--arg", "help=h", *said) == (0, f"{printed}\n", "")


@pytest.mark.parametrize("value", ["-1", "-1e3", "-inf"])
def test_a_value_may_begin_with_a_dash(call, value):
    assert call("top", "--shift", value, "--top_k", "-7") == (0, f"-7 {float(value)}\n", "")


def test_a_method_explains_itself(call):
    code, out, _ = call("add", "--help")
    assert code == 0
    assert "def add(items: Iterator[int], start: int = 0) -> Iterator[int]:" in out
    assert "--start VALUE" in out
    assert "int; added to each; from 0; default 0" in " ".join(out.split())


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["size"], 2, "runner: size needs --picture (Image; required)"),
        (["size", "--picture", "/no/such.png"], 2, "runner: --picture: cannot read '/no/such.png': No such file"),
        (["size", "--picture", __file__], 1, "runner: picture: these "),
        (["size", "extra"], 2, "runner: extra: size takes its arguments by name; it has --picture"),
        (["size", "--pictur", "x"], 2, "runner: --pictur: no such argument of size; did you mean --picture?"),
        (["add", "--x=5"], 2, "runner: --x: no such argument of add; it has --items, --start"),
        (["top", "--top-k", "1"], 2, "runner: --top-k: no such argument of top; did you mean --top_k?"),
        (["wrong", "x"], 2, "runner: x: wrong takes its arguments by name; it has none"),
        (["top", "--labels", "a", "--labels", "b"], 2, "takes one value; a list is one, in JSON: --labels '[...]'"),
        (["top", "--labels", "a"], 2, """runner: --labels: got a, needs a JSON list, such as '["a", "b"]'\n"""),
        (["top", "--labels", '["a'], 2, """needs a JSON list, such as '["a", "b"]' (Unterminated string"""),
        (["add", "--items", "x"], 2, "runner: --items: got x, needs a whole number"),
        (["add", "--start", "1", "--start", "2"], 2, "runner: --start: given 2 times"),
        (["add", "--items", "1", "--start", "-1"], 1, "runner: start: "),
        (["named", "--arg", "nope=1"], 2, "runner: --arg nope=1: needs NAME=VALUE, with a name among timeout, help"),
        (["named", "--arg", "timeout=5", "--shout", "very"], 2, "runner: --shout: got very, needs true or false"),
        (["nope"], 1, "runner: the model has no method 'nope'; it has size, flip, add"),
        (["picky", "--prompt", "x"], 1, "runner: RuntimeError: not today"),
        (["--url", "127.0.0.1:1", "size"], 1, "runner: no answer from http://127.0.0.1:1"),
        (["--url", "ftp://x", "size"], 2, "the scheme 'ftp' is none of http and https"),
        ([], 2, "runner: the following arguments are required: METHOD; see `runner call --help`"),
    ],
)
def test_an_error_is_one_line(call, argv, code, message):
    got, out, err = call(*argv)
    assert (got, out) == (code, "")
    assert message in err
    assert err.count("\n") == 1
