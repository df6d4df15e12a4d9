#!/bin/sh
# systemd_boot.sh ROOT CGROUP [FOLDER=NAME...]: becomes systemd, as PID 1 of a machine whose file system is ROOT and whose
# programs are this machine's, read-only; so is each FOLDER, as /srv/NAME. Namespaces of its own: mounts, processes,
# control groups, host name, IPC. The network is shared, so that its sshd is reached on the loopback.
set -eu
if [ "${OUTSTATION_INSIDE:-}" = "" ]; then
    echo $$ >"$2/cgroup.procs"
    OUTSTATION_INSIDE=yes
    export OUTSTATION_INSIDE
    exec unshare --mount --pid --fork --uts --ipc --cgroup --kill-child=KILL "$0" "$@"
fi
root=$1
shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
cd "$root"
mount --rbind /usr usr
mount -o remount,bind,ro usr
for carried; do
    mkdir -p "srv/${carried##*=}"
    mount --bind "${carried%=*}" "srv/${carried##*=}"
    mount -o remount,bind,ro "srv/${carried##*=}"
done
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for name in null zero full random urandom tty; do
    : >"dev/$name"
    mount --bind "/dev/$name" "dev/$name"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
hostname press-07
pivot_root . mnt
cd /
umount -l /mnt
exec env -i container=outstation PATH=/usr/sbin:/usr/bin:/sbin:/bin /usr/lib/systemd/systemd </dev/null >/dev/null 2>&1
