"""Every kind of fault with the time in which its node predicts again once it has ended.

The times hold on two busy cores: a pump's window takes 8 s to fill anew, a PLC that was away is tried again after up
to 15 s, and a launcher brings all of a node up from nothing.
"""

from __future__ import annotations

from tests.soak import breaks, changes
from tests.soak.fault import Fault
from tests.soak.plantsite import ON_SMALL_DISKS

PUMPS = ("pump-01", "pump-02", "pump-03", "pump-04")
FAULTS = (
    Fault("kill launcher", 40.0, breaks.kill_launcher),
    Fault("kill supervisor", 20.0, breaks.kill_supervisor),
    Fault("kill worker", 20.0, breaks.kill_worker),
    Fault("freeze worker", 25.0, breaks.freeze_worker),
    Fault("freeze supervisor", 25.0, breaks.freeze_supervisor),
    Fault("silence links", 15.0, breaks.silence_links),
    Fault("kill sshd", 15.0, breaks.kill_sshd),
    Fault("cut link", 15.0, breaks.cut_link),
    Fault("cut site", 15.0, breaks.cut_site),
    Fault("kill PLC", 40.0, breaks.kill_device, PUMPS),
    Fault("kill OPC UA server or broker", 40.0, breaks.kill_device, ("motor-01", "cast-01")),
    Fault("freeze PLC", 40.0, breaks.freeze_plc, PUMPS),
    Fault("fill disk", 30.0, changes.fill_disk, ON_SMALL_DISKS),
    Fault("step clock", 15.0, breaks.step_clock),
    Fault("bad bundle", 25.0, changes.bad_deployment, PUMPS),
    Fault("good deployment", 25.0, changes.good_deployment, PUMPS),
    Fault("kill console", 25.0, changes.kill_console, PUMPS),
)
