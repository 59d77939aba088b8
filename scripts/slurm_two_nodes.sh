#!/bin/bash
# A two-node Slurm on this machine, from Debian's packages, to try out `--engine slurm`.
#
#   scripts/slurm_two_nodes.sh up DIR     installs what is missing, starts it, and prints the configuration to use
#   scripts/slurm_two_nodes.sh down DIR   stops it
#
# Two slurmd on different ports are two nodes with one CPU each. Needs root. Everything it writes is in DIR, but for munge's
# key; munged is stopped again only if this script started it.
set -euo pipefail

usage() { sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2; }
[ $# -eq 2 ] || usage
dir=$(realpath -m "$2")
conf=$dir/slurm.conf

up() {
    [ "$(id -u)" -eq 0 ] || { echo "needs root"; exit 1; }
    if ! command -v slurmctld slurmd srun munged >/dev/null; then
        apt-get install -y -qq slurmctld slurmd slurm-client munge >/dev/null
    fi
    mkdir -p "$dir"/{state,spool-n1,spool-n2}
    if ! munge -n >/dev/null 2>&1; then
        mkdir -p /run/munge && chown munge: /run/munge
        runuser -u munge -- munged
        touch "$dir/munged"
        munge -n >/dev/null
    fi
    host=$(hostname -s)
    cat >"$conf" <<CONF
ClusterName=two
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool-%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd-%n.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd-%n.log
SlurmctldPort=${SLURM_TWO_PORT:-16817}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((${SLURM_TWO_PORT:-16817} + 1)) CPUs=1 State=UNKNOWN
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((${SLURM_TWO_PORT:-16817} + 2)) CPUs=1 State=UNKNOWN
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
CONF
    slurmctld -f "$conf"
    slurmd -f "$conf" -N n1
    slurmd -f "$conf" -N n2
    for _ in $(seq 60); do
        if [ "$(SLURM_CONF=$conf sinfo -h -t idle -o %D 2>/dev/null)" = 2 ]; then
            echo "export SLURM_CONF=$conf"
            return
        fi
        sleep 1
    done
    echo "the nodes are not idle after 60 s; the logs are in $dir" >&2
    down
    exit 1
}

down() {
    for pid in "$dir"/slurmd-n1.pid "$dir"/slurmd-n2.pid "$dir"/slurmctld.pid; do
        if [ -s "$pid" ]; then kill "$(cat "$pid")" 2>/dev/null || true; fi
    done
    if [ -e "$dir/munged" ]; then munged --stop >/dev/null 2>&1 || true; fi
}

case $1 in up) up ;; down) down ;; *) usage ;; esac
