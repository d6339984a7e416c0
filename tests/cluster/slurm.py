"""A small SLURM on this machine: munged, slurmctld and two slurmd with pretended GPUs.

Everything lies in one folder but the link /etc/slurm/slurm.conf, which SLURM's own commands need
inside jobs. What was started is stopped by its process ids, whatever happens.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import time
from contextlib import suppress
from pathlib import Path

ETC = Path("/etc/slurm/slurm.conf")
PROGRAMS = ["munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue"]
NODES = {"n1": 1, "n2": 2}  # pretended GPUs of each
CONF = """
ClusterName=countae
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=16817
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
GresTypes=gpu
MpiDefault=none
ReturnToService=2
KillWait=2
MinJobAge=86400
SchedulerParameters=sched_interval=5,batch_sched_delay=0
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/log/jobs.txt
AccountingStorageType=accounting_storage/none
{nodes}
PartitionName=cpu Nodes=ALL Default=YES MaxTime=600 State=UP
PartitionName=gpu Nodes=ALL MaxTime=600 State=UP
"""


class Slurm:
    """The cluster of one test run; use it in a ``with`` block.

    Parameters
    ----------
    folder : Path
        For configuration, state, logs and process ids. Its path must be short: it holds a socket.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, int] = {}

    def __enter__(self) -> Slurm:
        """Start the daemons; stop again those that did start when one does not."""
        if ETC.exists() or ETC.is_symlink():
            raise RuntimeError(
                f"{ETC}: there is a SLURM on this machine already, or one that a test left. Fix: "
                "remove the file if it is a link that a test left; never run this on a cluster."
            )
        try:
            self._configure()
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *reason: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Cancel all jobs, stop the daemons, remove the link."""
        if self._pids():
            subprocess.run(["scancel", "--user", "root"], check=False, timeout=30)
            wait(lambda: not self.queue(), 20)
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self._pids():
                os.kill(pid, signal_number)
            wait(lambda: not self._pids(), 15)
        if ETC.is_symlink() and ETC.readlink() == self.folder / "slurm.conf":
            ETC.unlink()

    def queue(self) -> list[str]:
        """Ids of jobs that wait or run."""
        done = subprocess.run(
            ["squeue", "--noheader", "--format", "%i"], capture_output=True, text=True, check=False
        )
        return done.stdout.split()

    def jobs(self) -> list[dict[str, str]]:
        """SLURM's record of every job so far, in the order of submission."""
        text = subprocess.run(
            ["scontrol", "--oneliner", "--details", "show", "job"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        lines = [line for line in text.splitlines() if line.startswith("JobId=")]
        return [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in lines]

    def logged(self) -> str:
        """What the daemons of the nodes have written."""
        return "".join(path.read_text() for path in self.folder.glob("log/slurmd.*.log"))

    def set_node(self, node: str, state: str) -> None:
        """Drain a node, or take it up again."""
        words = ["scontrol", "update", f"NodeName={node}", f"State={state}", "Reason=test"]
        subprocess.run(words, check=True)

    def limit(self, job: str, *, minutes: int) -> None:
        """Shorten the time that a job has in all."""
        words = ["scontrol", "update", f"JobId={job}", f"TimeLimit={minutes}"]
        subprocess.run(words, check=True)

    def cancel(self, *jobs: str) -> None:
        """End jobs now, without the time that they have to end by themselves."""
        subprocess.run(["scancel", "--signal=KILL", "--full", *jobs], check=True)
        wait(lambda: not set(jobs) & set(self.queue()), 30)

    def _configure(self) -> None:
        for name in ("munge", "state", "spool", "run", "log"):
            (self.folder / name).mkdir(parents=True)
        nodes, gres = [], []
        for number, (node, gpus) in enumerate(NODES.items()):
            nodes.append(
                f"NodeName={node} NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 "
                f"Port={16821 + number} CPUs=2 RealMemory=9000 Gres=gpu:h100:{gpus}"
            )
            for gpu in range(gpus):  # of a number that no driver has
                device = self.folder / "run" / f"{node}gpu{gpu}"
                os.mknod(device, 0o600 | stat.S_IFCHR, os.makedev(240, gpu))
                gres.append(f"NodeName={node} Name=gpu Type=h100 File={device}")
        text = CONF.format(host=socket.gethostname(), folder=self.folder, nodes="\n".join(nodes))
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "gres.conf").write_text("\n".join(gres) + "\n")
        key = self.folder / "munge" / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        ETC.parent.mkdir(exist_ok=True)
        ETC.symlink_to(self.folder / "slurm.conf")

    def _start(self) -> None:
        place = self.folder / "munge"
        _run(
            "munged", "--force", f"--socket={place}/socket", f"--key-file={place}/key",
            f"--log-file={place}/log", f"--pid-file={self.folder}/run/munged.pid",
            f"--seed-file={place}/seed",
        )  # fmt: skip
        conf = str(self.folder / "slurm.conf")  # gres.conf is looked for beside it
        _run("slurmctld", "-f", conf)
        for node in NODES:
            _run("slurmd", "-f", conf, "-N", node)
        if not wait(lambda: self._idle() == len(NODES), 30):
            logs = "\n".join(path.read_text()[-1000:] for path in self.folder.glob("log/*.log"))
            raise RuntimeError(f"the nodes of SLURM did not come up:\n{logs}")

    def _idle(self) -> int:
        """How many nodes wait for work."""
        done = subprocess.run(
            ["sinfo", "--noheader", "--Node", "--states=idle", "--partition=cpu"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return len(done.stdout.splitlines())

    def _pids(self) -> list[int]:
        """Process ids of the daemons that live, munged last."""
        for file in self.folder.glob("run/*.pid"):
            with suppress(FileNotFoundError, ValueError):  # a daemon that ends removes its file
                self._known[file.stem] = int(file.read_text())
        names = sorted(self._known, key=lambda name: name == "munged")
        return [self._known[name] for name in names if _is_daemon(self._known[name])]


def missing() -> list[str]:
    """Programs of SLURM that are not installed."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


def _is_daemon(pid: int) -> bool:
    """Whether a process lives and is one of SLURM's, not another that got its number."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return name in PROGRAMS and state != "Z"


def _run(*words: str) -> None:
    """Start a program that goes into the background by itself."""
    subprocess.run(words, check=True, timeout=60, stdin=subprocess.DEVNULL)


def wait(ready, seconds: float) -> bool:
    """Whether something became true within some seconds."""
    end = time.monotonic() + seconds
    while not (now := ready()) and time.monotonic() < end:
        time.sleep(0.1)
    return bool(now)
