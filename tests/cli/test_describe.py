from __future__ import annotations

import ast


def test_methods(runner, served):
    code, out, _ = runner("methods", "--url", served)
    assert code == 0
    assert out.splitlines()[0] == "def size(picture: Image) -> dict:"
    assert len(out.splitlines()) == 8


def test_signature(runner, served):
    code, out, _ = runner("signature", "size", "--url", served)
    assert (code, out) == (0, "def size(picture: Image) -> dict:\n\nTell the size of `picture`.\n")
    assert runner("signature", "nope", "--url", served)[0] == 1


def test_client_script(runner, served):
    code, out, _ = runner("client-script", "--url", served)
    assert code == 0
    ast.parse(out)
    assert served in out


def test_help_is_there(runner):
    code, out, _ = runner("--help")
    assert code == 0
    for command in ("serve", "swap", "methods", "signature", "call", "client-script", "check", "init", "top"):
        assert command in out
        code, text, _ = runner(command, "--help")
        assert (code, text[:6]) == (0, "usage:")
        said = text.partition("\n\n")[2]  # what it is for comes before its options
        assert said[0].isupper()
        assert not said.startswith(("Positional", "Options"))


def test_a_wrong_command_line_is_one_line(runner):
    for argv in (["nope"], [], ["serve"], ["serve", "x", "--prot", "1"], ["signature"]):
        code, out, err = runner(*argv)
        assert (code, out) == (2, "")
        assert err.startswith("runner: ")
        assert "--help`" in err
        assert err.count("\n") == 1
