"""Becomes another program that the kernel kills when its parent dies. Run by path, so it imports next to nothing:

    python -S -E launch.py PARENT_PID COMMAND...

PR_SET_PDEATHSIG survives exec, costs nothing while both live, and cannot be forgotten: a runner killed with -9 has no
chance to tidy up, and a watchdog process could itself be killed. Setting it in a `preexec_fn` would run Python between
fork and exec of a threaded process, which may deadlock; here it is set after exec, in a process of its own.
The kernel sends the signal when the parent's *thread* ends, so the runner starts processes from its main thread only.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    parent = int(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
