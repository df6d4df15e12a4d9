"""pipeline.toml: what is refused, where, and what a binding brings."""

from __future__ import annotations

from typing import Any

import pytest

from nodeagent.pipeline.config import PipelineConfig, bindings_needed, load
from nodeagent.pipeline.errors import ConfigError
from nodeagent.sources.modbus import ModbusOptions, items

PUMP = """schema = 1
name = "pump-health"
asset = "${site}/pump-07"

[[source]]
id = "plc"
type = "modbus"
url = "${plc}"
poll = "1s"
tags = [
  { name = "speed", register = "holding:0", type = "float32" },
  { name = "power", type = "uint16" },
]

[[step]]
use = "validate.range"
limits = "${limits}"

[model]
inputs = ["speed", "power"]

[decide]
use = "alarm"
score = "score"
high = 1.0

[[sink]]
type = "record"
"""
BOUND: dict[str, Any] = {
    "site": "plant1",
    "plc": {
        "url": "tcp://10.0.0.5:502",
        "unit_id": 3,
        "registers": {"power": "input:8"},
        "scale": {"power": 0.1},
        "orders": {"speed": "CDAB"},
    },
    "limits": {"speed": [0, 3600]},
}


def refused(text: str, bindings: dict[str, Any] | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(text, bindings=bindings)
    return caught.value


def modbus_of(config: PipelineConfig) -> ModbusOptions:
    options = config.sources[0].options
    assert isinstance(options, ModbusOptions)
    return options


def test_an_unknown_key_is_refused_with_its_line_and_what_is_allowed() -> None:
    error = refused(PUMP.replace('poll = "1s"', 'pol = "1s"'))
    assert (error.line, error.key, error.message) == (9, "source.pol", "unknown key")
    assert {"poll", "url", "tags"} <= set(error.allowed)
    assert str(error).startswith("pipeline.toml:9: source.pol: unknown key; allowed: ")


def test_an_unknown_key_of_one_tag_is_refused_on_the_line_of_that_tag() -> None:
    error = refused(PUMP.replace('"power", type', '"power", typ'))
    assert error.line == 12
    assert "register" in error.allowed


def test_a_value_of_the_wrong_type_is_refused_at_its_key() -> None:
    error = refused(PUMP.replace("high = 1.0", 'high = "1.0"'))
    assert (error.line, error.key) == (25, "decide.high")
    assert error.message == "expected a number, got text"


@pytest.mark.parametrize("poll", ['"1"', "1", '"1 minute"', '"-1s"'])
def test_a_duration_without_its_unit_is_refused(poll: str) -> None:
    assert refused(PUMP.replace('poll = "1s"', f"poll = {poll}")).line == 9


def test_an_unknown_step_names_the_steps_of_its_family() -> None:
    error = refused(PUMP.replace("validate.range", "validate.rnge"))
    assert error.line == 16
    assert "validate.range" in error.allowed


def test_a_syntax_error_has_its_line() -> None:
    assert refused("schema = 1\nname = \n").line == 2


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('name = "pump-health"\n', "", 1),
        ("schema = 1", "schema = 2", 1),
        ('id = "plc"\n', "", 5),
        ('score = "score"\n', "", 22),
        ("[model]", "[mode]", 19),
        ('[[sink]]\ntype = "record"', 'sink = "record"', 27),
    ],
)
def test_what_is_missing_or_misplaced_is_refused_with_a_line(old: str, new: str, line: int) -> None:
    assert refused(PUMP.replace(old, new)).line in range(line - 1, line + 2)


def test_without_bindings_everything_else_is_checked_and_the_needed_names_are_known() -> None:
    config = load(PUMP)
    assert bindings_needed(config) == ("limits", "plc", "site")
    assert not config.bound
    assert refused(PUMP.replace('poll = "1s"', "poll = 1")).line == 9


def test_a_binding_table_brings_address_unit_registers_scale_and_order() -> None:
    config = load(PUMP, bindings=BOUND)
    options = modbus_of(config)
    assert config.bound
    assert config.asset == "plant1/pump-07"
    assert (options.url, options.unit_id) == ("tcp://10.0.0.5:502", 3)
    speed, power = items(options)
    assert (speed.address.table, speed.order) == ("holding", "CDAB")
    assert (power.address.table, power.address.number, power.scale) == ("input", 8, 0.1)


def test_what_a_binding_table_says_goes_before_what_the_bundle_says() -> None:
    slower = BOUND | {"plc": BOUND["plc"] | {"poll": "5s"}}
    assert modbus_of(load(PUMP, bindings=slower)).poll == 5.0
    assert modbus_of(load(PUMP, bindings=BOUND)).poll == 1.0


def test_a_binding_may_be_just_the_address() -> None:
    text = PUMP.replace('"power", type', '"power", register = "holding:9", type')
    assert modbus_of(load(text, bindings=BOUND | {"plc": "tcp://10.0.0.9"})).url == "tcp://10.0.0.9"


def test_a_missing_binding_is_refused_where_it_is_used() -> None:
    error = refused(PUMP, {"site": "plant1", "limits": {}})
    assert (error.line, error.message) == (8, "this node has no binding 'plc'")


def test_an_unknown_entry_of_a_binding_table_is_refused_by_the_binding_s_name() -> None:
    error = refused(PUMP, BOUND | {"plc": BOUND["plc"] | {"unitid": 3}})
    assert (error.file, error.key) == ("bindings", "plc.unitid")
    assert "unit_id" in error.allowed


def test_a_part_of_a_binding_can_be_named() -> None:
    text = PUMP.replace('"${limits}"', '"${plc.ranges}"')
    ranged = {"url": "tcp://10.0.0.5", "registers": {"power": "input:8"}}
    error = refused(text, BOUND | {"plc": ranged})
    assert error.message == "the binding 'plc' has no 'ranges'"


def test_a_tag_without_a_register_anywhere_is_refused_by_its_name() -> None:
    error = refused(PUMP, BOUND | {"plc": "tcp://10.0.0.5:502"})
    assert "the tag 'power' has no register" in error.message


def test_the_digest_is_of_the_text_and_not_of_the_bindings() -> None:
    assert load(PUMP).digest == load(PUMP, bindings=BOUND).digest
    assert load(PUMP).digest != load(PUMP + "\n").digest


def test_two_sources_of_one_name_are_refused() -> None:
    second = '\n[[source]]\nid = "plc"\ntype = "simulate"\nmachine = "pump"\n'
    assert "already" in refused(PUMP + second).message


def test_no_secret_of_a_binding_shows_in_the_config() -> None:
    mqtt = '\n[[sink]]\ntype = "mqtt"\nurl = "mqtt://10.0.0.9"\npassword = "${mqtt_password}"\n'
    config = load(PUMP + mqtt, bindings=BOUND | {"mqtt_password": "hunter2"})
    assert "hunter2" not in repr(config)
