"""The operator's flags and their environment variables."""

import pytest

from stepstream_operator.settings import parse_settings


def test_alone_and_everywhere_is_the_default() -> None:
    settings = parse_settings([], {})
    assert (settings.namespaces, settings.lease_namespace, settings.workers) == ((), "", 4)


def test_namespaces_may_be_repeated_or_listed() -> None:
    flags = ["--watch-namespace", "a", "--watch-namespace=b"]
    assert parse_settings(flags, {}).namespaces == ("a", "b")
    assert parse_settings([], {"STEPSTREAM_OPERATOR_WATCH_NAMESPACES": "a, b"}).namespaces == ("a", "b")


def test_an_election_takes_place_in_the_pods_namespace() -> None:
    settings = parse_settings(["--leader-elect"], {"POD_NAMESPACE": "stepstream", "POD_NAME": "operator-0"})
    assert (settings.lease_namespace, settings.identity) == ("stepstream", "operator-0")


def test_a_flag_wins_over_its_variable() -> None:
    variables = {"STEPSTREAM_OPERATOR_WORKERS": "7", "STEPSTREAM_OPERATOR_TLS": "false"}
    assert parse_settings([], variables).workers == 7
    assert parse_settings(["--workers=2", "--tls"], variables).workers == 2
    assert (parse_settings([], variables).tls, parse_settings(["--tls"], variables).tls) == (False, True)


@pytest.mark.parametrize(
    ("flag", "message"),
    [("--workers=0", "must be at least 1, got 0"), ("--log-level=loud", "must be one of debug, info")],
)
def test_a_value_that_cannot_work_is_refused_with_its_flag(
    flag: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse_settings([flag], {})
    said = capsys.readouterr().err
    assert flag.split("=")[0] in said
    assert message in said
