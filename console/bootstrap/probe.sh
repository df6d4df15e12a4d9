# What a node is, told by nothing but a POSIX shell: one `key<TAB>value` a line. Changes nothing.
# $1: where the programs would go, $2: where the state would go; a leading ~ is the account's home.
LC_ALL=C
export LC_ALL
PATH=$PATH:/usr/sbin:/sbin
say() { printf '%s\t%s\n' "$1" "$2"; }
full() {
    case $1 in
    '~') printf '%s' "$HOME" ;;
    '~/'*) printf '%s/%s' "$HOME" "${1#??}" ;;
    *) printf '%s' "$1" ;;
    esac
}
near() {
    d=$1
    while [ ! -d "$d" ]; do d=$(dirname "$d"); done
    printf '%s' "$d"
}
say kernel "$(uname -s)"
say machine "$(uname -m)"
say bits "$(getconf LONG_BIT 2>/dev/null)"
say uid "$(id -u)"
say user "$(id -un)"
say home "$HOME"
say host "$(uname -n)"
say clock "$(date +%s)"
say glibc "$(getconf GNU_LIBC_VERSION 2>/dev/null)"
for f in /lib/ld-musl-*; do [ -e "$f" ] && say musl "$f"; done
prefix=$(full "$1")
state=$(full "$2")
say prefix "$prefix"
say state "$state"
for name in prefix state; do
    eval "path=\$$name"
    folder=$(near "$path")
    say "$name.near" "$folder"
    [ -w "$folder" ] && say "$name.writable" yes
    say "$name.disk" "$(df -Pk "$folder" 2>/dev/null | tail -n 1)"
    say "$name.inodes" "$(df -Pi "$folder" 2>/dev/null | tail -n 1)"
done
[ -L "$prefix/current" ] && say current "$(readlink "$prefix/current")"
[ -e "$state/node.db" ] && say node yes
if [ -r /proc/self/mounts ]; then
    while read -r _ where kind options _; do say mount "$where $kind $options"; done </proc/self/mounts
fi
say init "$(cat /proc/1/comm 2>/dev/null)"
[ -d /run/systemd/system ] && say systemd "$(systemctl --version 2>/dev/null | head -n 1)"
runtime=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}
[ -S "$runtime/systemd/private" ] && say systemd.user "$runtime"
[ -e "/var/lib/systemd/linger/$(id -un)" ] && say linger yes
command -v crontab >/dev/null 2>&1 && say crontab "$(command -v crontab)"
[ -e /etc/rc.local ] && say rc.local yes
command -v tar >/dev/null 2>&1 && say tar yes
sed -n 's/^MemTotal: *\([0-9]*\) kB$/memory\t\1/p' /proc/meminfo 2>/dev/null
check='import importlib.util as u, struct, sys, sysconfig as c
need = "compileall ctypes _ctypes fcntl sqlite3 _sqlite3 ssl _ssl tomllib zipfile zlib".split()
lack = sorted({n.lstrip("_") for n in need if u.find_spec(n) is None})
version, bits = "%d.%d" % sys.version_info[:2], struct.calcsize("P") * 8
print(sys.executable, version, bits, sys.implementation.name, c.get_config_var("Py_GIL_DISABLED") or 0, ",".join(lack) or "-")'
for name in python3.20 python3.19 python3.18 python3.17 python3.16 python3.15 python3.14 python3.13 python3.12 python3.11 python3; do
    found=$(command -v "$name" 2>/dev/null) || continue
    say python "$("$found" -I -c "$check" 2>/dev/null || printf '%s ? 0 ? 0 -' "$found")"
done
say end yes
