"""Check rules, dashboard and runbooks of the overlay `monitoring`, and test the rules with promtool."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import yaml

from tests.localcluster.prometheus import programs
from tests.localcluster.scraping import RULES, rules
from tests.localcluster.system import REPOSITORY
from tests.support.prometheus import expressions_of_dashboard

if TYPE_CHECKING:
    from pathlib import Path

HERE = REPOSITORY / "tests" / "monitoring"
RUNBOOKS = REPOSITORY / "docs" / "runbooks.md"


def promtool(*arguments: str, folder: Path) -> None:
    """Run promtool in a folder; fail with its output."""
    done = subprocess.run(
        [str(programs() / "promtool"), *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def alerts() -> dict[str, Any]:
    """Return the alerts by name."""
    return {rule["alert"]: rule for group in rules()["groups"] for rule in group["rules"]}


def test_alerts_fire_as_described(tmp_path: Path) -> None:
    """`promtool test rules` also compares labels and annotations."""
    shutil.copy(RULES, tmp_path)
    shutil.copy(HERE / "rules_test.yaml", tmp_path)
    promtool("check", "rules", "rules.yaml", folder=tmp_path)
    promtool("test", "rules", "rules_test.yaml", folder=tmp_path)


def test_each_alert_is_tested() -> None:
    tests = yaml.safe_load((HERE / "rules_test.yaml").read_text())["tests"]
    fired = {each["alertname"] for test in tests for each in test["alert_rule_test"] if each["exp_alerts"]}
    assert fired == alerts().keys()


def test_each_alert_has_a_runbook() -> None:
    sections = re.findall(r"^## (\w+)$", RUNBOOKS.read_text(), re.MULTILINE)
    assert sections == list(alerts())
    for name, rule in alerts().items():
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"].endswith(f"/runbooks/#{name.lower()}")
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["for"]


def test_expressions_of_the_dashboard_are_valid(tmp_path: Path) -> None:
    """`promtool check rules` parses each one as a recording rule."""
    found = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(expressions_of_dashboard())]
    assert found
    (tmp_path / "panels.yaml").write_text(json.dumps({"groups": [{"name": "panels", "rules": found}]}))
    promtool("check", "rules", "panels.yaml", folder=tmp_path)
