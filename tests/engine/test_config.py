"""Settings from arguments and environment."""

from pathlib import Path

import pytest

from controllers import config
from controllers.fleet.session import CALL_TIMEOUT


def test_arguments_win_over_the_environment_and_that_over_defaults() -> None:
    settings = config.read(
        ["--workers", "5", "--take-over", "a, b"],
        {"STRATIFORM_WORKERS": "7", "STRATIFORM_RELIST": "9.5", "STRATIFORM_KERNEL_TIMER": "false"},
    )
    assert (settings.workers, settings.relist, settings.kernel_timer) == (5, 9.5, False)
    assert settings.take_over == ("a", "b")
    assert settings.page == config.Settings().page


def test_kubeconfig_is_taken_from_its_usual_variable() -> None:
    assert config.read([], {"KUBECONFIG": "/a"}).kubeconfig == Path("/a")
    assert config.read(["--kubeconfig", "/b"], {"KUBECONFIG": "/a"}).kubeconfig == Path("/b")
    assert config.read([], {}).kubeconfig is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "many"], "workers is 'many': int expected"),
        (["--kernel-timer", "maybe"], "kernel-timer is 'maybe': use true or false"),
        (["--lease-margin", "20"], "lease-margin is 20.0: it must be"),
        (["--log-format", "xml"], "log-format is 'xml': use console or JSON"),
    ],
)
def test_a_mistake_is_named(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        config.read(arguments, {})
    assert message in capsys.readouterr().err


def test_a_host_that_falls_silent_is_told_of_within_15_seconds_though_its_driver_has_no_keepalive() -> None:
    """A listing begins every so many seconds, a tenth more at the most, and is given up after CALL_TIMEOUT."""
    assert config.Settings().listing_interval * 1.1 + CALL_TIMEOUT < 15.0
