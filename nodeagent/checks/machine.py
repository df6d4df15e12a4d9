"""Checks of the machine: heat, memory, what the kernel ended, limits, who restarts what hangs."""

from __future__ import annotations

import os
import re
import resource

import psutil

from nodeagent.checks.finding import Finding, bad, ok, unknown, warn
from nodeagent.checks.host import Host
from nodeagent.health.host import temperature_c

WARM_C = 10.0
MEMORY_SHARE_WARN, MEMORY_SHARE_BAD = 0.10, 0.05
OPEN_FILES_MIN = 1_024
OPEN_SHARE_WARN = 0.7
_PI = "sys/devices/platform/soc/soc:firmware/get_throttled"
_PI_NOW = 0xF


def temperature(host: Host) -> Finding:
    """The processor's sensor against node.toml's limit."""
    now_c, most_c = temperature_c(), host.settings.alerts.temperature_c_max
    if now_c is None:
        return unknown("this machine has no sensor that can be read")
    text = f"{now_c:.0f} °C, the limit is {most_c:.0f} °C"
    if now_c >= most_c:
        return bad(text, "Look at fan, dust and cabinet: a hot processor is slowed down.")
    return warn(text, "It is near its limit: look at fan and cabinet.") if now_c >= most_c - WARM_C else ok(text)


def throttling(host: Host) -> Finding:
    """Whether the processor was slowed down since the boot, by heat or by a weak supply."""
    if (word := host.maybe(_PI)) is not None:
        bits = int(word, 16)
        if bits & _PI_NOW:
            return bad(f"slowed down now ({word})", "Look at supply and cooling.")
        return warn(f"was slowed down since the boot ({word})", "Look at supply and cooling.") if bits else ok("never")
    files = sorted((host.root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))
    if not files:
        return unknown("the kernel does not count it here")
    times = max(int(file.read_text()) for file in files)
    text = f"{times} times since the boot"
    return warn(text, "Look at fan, dust and cabinet: latency rises when it happens.") if times else ok("never")


def memory(host: Host) -> Finding:
    """What a new worker could still have."""
    found = psutil.virtual_memory()
    share = found.available / found.total
    text = f"{found.available / 1e6:.0f} MB of {found.total / 1e6:.0f} MB available"
    advice = "See what else runs here: `ps aux --sort=-rss | head`."
    if share < MEMORY_SHARE_BAD:
        return bad(text, advice)
    return warn(text, advice) if share < MEMORY_SHARE_WARN else ok(text)


def kernel_kills(host: Host) -> Finding:
    """Processes that the kernel ended because memory was out, since the boot."""
    found = re.search(r"^oom_kill (\d+)$", host.text("proc/vmstat"), re.MULTILINE)
    if found is None:
        return unknown("this kernel does not count them")
    if int(found[1]):
        return warn(
            f"{found[1]} since the boot", "`journalctl -k -g 'Out of memory'` names them; give the node memory."
        )
    return ok("none since the boot")


def open_files(host: Host) -> Finding:
    """Descriptors in use against the limit that the agent was started with."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    text = f"{used} of {limit}"
    if limit < OPEN_FILES_MIN:
        return warn(f"{text}: fewer than {OPEN_FILES_MIN}", "Raise LimitNOFILE of the unit, or `ulimit -n`.")
    if used > OPEN_SHARE_WARN * limit:
        return bad(text, "Something holds them open: `ls -l /proc/PID/fd`, and tell us.")
    return ok(text)


def watchdog(host: Host) -> Finding:
    """Who acts when the agent hangs, and who when the whole machine does."""
    hardware = [path.name for path in sorted((host.root / "sys/class/watchdog").glob("watchdog*"))]
    armed = [name for name in hardware if host.maybe(f"sys/class/watchdog/{name}/state") == "active"]
    machine = "the machine's is active" if armed else "the machine's is idle" if hardware else "the machine has none"
    if not host.watchdog_usec.isdigit():
        advice = "Run it as a systemd unit: a keeper starts what ended, and nothing ends what hangs."
        return warn(f"nothing watches the agent; {machine}", advice)
    return ok(f"systemd watches the agent every {int(host.watchdog_usec) / 1e6:.0f} s; {machine}")
