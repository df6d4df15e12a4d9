"""Units of measurement as OPC UA and UNECE Recommendation 20 mean them: each by factor and offset to its SI unit."""

from __future__ import annotations

from collections.abc import Mapping
from math import pi
from typing import Final

_POUND, _GRAVITY, _INCH = 0.45359237, 9.80665, 0.0254
_PSI: Final = _POUND * _GRAVITY / _INCH**2
_GALLON: Final = 231 * _INCH**3  # of the United States

# kind -> unit -> (factor, offset): SI = value * factor + offset
KINDS: Final[Mapping[str, Mapping[str, tuple[float, float]]]] = {
    "temperature": {"K": (1, 0), "degC": (1, 273.15), "degF": (5 / 9, 459.67 * 5 / 9)},
    "pressure": {"Pa": (1, 0), "hPa": (100, 0), "kPa": (1e3, 0), "MPa": (1e6, 0), "mbar": (100, 0), "bar": (1e5, 0),
                 "psi": (_PSI, 0)},
    "length": {"m": (1, 0), "mm": (1e-3, 0), "um": (1e-6, 0), "cm": (0.01, 0), "in": (_INCH, 0), "ft": (12 * _INCH, 0)},
    "flow": {"m3/s": (1, 0), "m3/h": (1 / 3600, 0), "l/s": (1e-3, 0), "l/min": (1e-3 / 60, 0), "l/h": (1e-3 / 3600, 0),
             "gal/min": (_GALLON / 60, 0)},
    "volume": {"m3": (1, 0), "l": (1e-3, 0), "ml": (1e-6, 0), "gal": (_GALLON, 0)},
    "power": {"W": (1, 0), "kW": (1e3, 0), "MW": (1e6, 0), "hp": (550 * 12 * _INCH * _POUND * _GRAVITY, 0),
              "PS": (75 * _GRAVITY, 0)},
    "energy": {"J": (1, 0), "kJ": (1e3, 0), "Wh": (3600, 0), "kWh": (3.6e6, 0), "MWh": (3.6e9, 0)},
    "rotation": {"rad/s": (1, 0), "rpm": (2 * pi / 60, 0), "Hz": (2 * pi, 0)},
    "speed": {"m/s": (1, 0), "mm/s": (1e-3, 0), "m/min": (1 / 60, 0), "km/h": (1 / 3.6, 0), "in/s": (_INCH, 0)},
    "acceleration": {"m/s2": (1, 0), "mm/s2": (1e-3, 0), "g": (_GRAVITY, 0)},
    "mass": {"kg": (1, 0), "t": (1e3, 0), "lb": (_POUND, 0)},
    "force": {"N": (1, 0), "kN": (1e3, 0), "lbf": (_POUND * _GRAVITY, 0)},
    "torque": {"Nm": (1, 0), "kNm": (1e3, 0), "lbf.ft": (_POUND * _GRAVITY * 12 * _INCH, 0)},
    "angle": {"rad": (1, 0), "deg": (pi / 180, 0)},
    "time": {"s": (1, 0), "ms": (1e-3, 0), "min": (60, 0), "h": (3600, 0)},
    "current": {"A": (1, 0), "mA": (1e-3, 0)},
    "voltage": {"V": (1, 0), "mV": (1e-3, 0), "kV": (1e3, 0)},
    "ratio": {"1": (1, 0), "%": (0.01, 0), "ppm": (1e-6, 0)},
}  # fmt: skip


def between(source: str, target: str) -> tuple[float, float]:
    """Factor and offset from one unit to another. Raises ValueError for units that are not of one kind."""
    for units in KINDS.values():
        if source in units and target in units:
            (a, b), (c, d) = units[source], units[target]
            return a / c, (b - d) / c
    known = {unit: kind for kind, units in KINDS.items() for unit in units}
    for unit in (source, target):
        if unit not in known:
            raise ValueError(f"there is no unit {unit!r}; there is: {', '.join(known)}")
    raise ValueError(f"{source} is {known[source]} and {target} is {known[target]}")
