"""Write every dashboard into the chart: files/dashboards/<uid>.json."""

import json
from pathlib import Path

from charts.dashboards import control_plane, job, jobs

FOLDER = Path(__file__).parent.parent / "stepstream" / "files" / "dashboards"
DASHBOARDS = (job.DASHBOARD, jobs.DASHBOARD, control_plane.DASHBOARD)


def main() -> None:
    for dashboard in DASHBOARDS:
        (FOLDER / f"{dashboard.uid}.json").write_text(json.dumps(dashboard.json(), indent=2) + "\n")


if __name__ == "__main__":
    main()
