"""A real SLURM of one node on this machine, without systemd, for as long as a command runs.

    python -m tests.cluster.one_node sbatch --wrap 'srun hostname'

Needs root, and Debian's packages slurm-wlm and munge. All daemons talk over loopback and keep
their files in a temporary folder; one job runs at a time.
"""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel")

CONFIGURATION = """\
ClusterName=shapeopt
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={controller_port}
SlurmdPort={node_port}
CommunicationParameters=NoAddrCache
AuthType=auth/munge
# A job that is put back in the queue starts again when its credential has expired.
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldParameters=enable_configless
SlurmdParameters=config_overrides
SwitchType=switch/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
PreemptType=preempt/none
ReturnToService=2
KillWait=30
NodeName={host} NodeAddr=127.0.0.1 CPUs=1 RealMemory=4000 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why there can be no cluster here; nothing if there can."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "a SLURM of its own needs Linux, and root"
    lacking = [program for program in PROGRAMS if _program(program) is None]
    return f"{', '.join(lacking)}: apt-get install slurm-wlm munge" if lacking else ""


@contextlib.contextmanager
def cluster() -> Iterator[dict[str, str]]:
    """Starts the daemons; yields what the environment of SLURM's commands needs beside PATH.

    Raises:
        RuntimeError: if the node is not ready within half a minute, with the ends of the logs.
    """
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    folder.chmod(0o755)
    conf = folder / "slurm.conf"
    conf.write_text(
        CONFIGURATION.format(
            folder=folder,
            host=socket.gethostname().split(".")[0],
            controller_port=_free_port(),
            node_port=_free_port(),
        )
    )
    variables = {"SLURM_CONF": str(conf)}
    with contextlib.ExitStack() as started:
        started.callback(shutil.rmtree, folder, ignore_errors=True)
        _start(started, folder, *_munged(folder))
        for program in ("slurmctld", "slurmd"):
            for name in ("state", "spool"):
                (folder / name).mkdir(exist_ok=True)
            _start(started, folder, program, "-D", "-f", str(conf))
        _wait_for_the_node(folder, variables)
        started.callback(_clear, variables)
        yield variables


def _munged(folder: Path) -> list[str]:
    """The command that starts munge with a key and a socket of its own."""
    own = folder / "munge"
    own.mkdir(mode=0o755)
    key = own / "key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    options = {
        "--key-file": key,
        "--socket": own / "socket",
        "--log-file": own / "log",
        "--pid-file": own / "pid",
        "--seed-file": own / "seed",
    }
    return ["munged", "--foreground", *(f"{name}={path}" for name, path in options.items())]


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(started: contextlib.ExitStack, folder: Path, program: str, *options: str) -> None:
    """Starts a daemon in the foreground of a process of its own, which ends with the stack."""
    log = (folder / f"{program}.out").open("wb")
    started.callback(log.close)
    process = subprocess.Popen(
        [_program(program) or program, *options], stdout=log, stderr=log, start_new_session=True
    )

    def stop() -> None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    started.callback(stop)


def _wait_for_the_node(folder: Path, variables: dict[str, str]) -> None:
    for _ in range(60):
        asked = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"],
            env=os.environ | variables,
            capture_output=True,
            text=True,
        )
        if asked.stdout.strip() == "idle":
            return
        time.sleep(0.5)
    logs = [f"{log.name}: {log.read_text()[-1500:]}" for log in sorted(folder.glob("*.log"))]
    raise RuntimeError("\n".join([f"SLURM has no idle node: {asked.stdout} {asked.stderr}", *logs]))


def _clear(variables: dict[str, str]) -> None:
    """Ends all jobs, and waits until their processes are gone."""
    environment = os.environ | variables
    subprocess.run(["scancel", "--user=root"], env=environment, check=False)
    for _ in range(80):
        left = subprocess.run(["squeue", "--noheader"], env=environment, capture_output=True)
        if not left.stdout.strip():
            return
        time.sleep(0.5)


def main() -> None:
    """Runs the command of this process's arguments on a cluster of its own."""
    if missing():
        sys.exit(f"error: {missing()}")
    with cluster() as variables:
        sys.exit(subprocess.run(sys.argv[1:], env=os.environ | variables).returncode)


if __name__ == "__main__":
    main()
