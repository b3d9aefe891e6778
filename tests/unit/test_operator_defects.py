"""A thread of the operator that dies takes its process with it."""

import subprocess
import sys

LOSES_A_THREAD = """
import threading
from stepstream_operator.controller.operator import end_process_on_defects
from stepstream_trainer.logs import configure_logs

configure_logs(environment={"KUBERNETES_SERVICE_HOST": "any"})
end_process_on_defects()
threading.Thread(target=lambda: {}["pods"]).start()
threading.Event().wait(60)
"""


def test_a_defect_in_a_thread_is_logged_and_ends_the_process() -> None:
    ended = subprocess.run([sys.executable, "-c", LOSES_A_THREAD], capture_output=True, text=True, timeout=50)
    assert ended.returncode == 1
    assert '"event": "thread_died"' in ended.stderr
    assert "KeyError: 'pods'" in ended.stderr
