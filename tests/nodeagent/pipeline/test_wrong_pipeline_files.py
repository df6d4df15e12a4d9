"""Wrong pipeline files, one wrong thing each: every one is told by its line, its key, and what would be right.

Each case changes one place of BASE, which is in order.
"""

from __future__ import annotations

import pytest

from nodeagent.pipeline.config import load
from nodeagent.pipeline.errors import ConfigError
from nodeagent.pipeline.rehearsal import Rehearsal

BASE = """schema = 1
name = "pump"
[[source]]
id = "plc"
type = "modbus"
url = "tcp://10.0.0.5:502"
poll = "1s"
tags = [
  { name = "speed", register = "holding:0", type = "float32" },
  { name = "power", register = "holding:2", type = "uint16", unit = "kW" },
]
[[step]]
use = "validate.range"
limits = { speed = [0, 3600] }
[[step]]
use = "clean.hampel"
window = 7
[[step]]
use = "window"
size = 30
aggregates = ["Average"]
[model]
inputs = ["speed.Average", "power.Average"]
[decide]
use = "alarm"
score = "score"
high = 1.0
on_count = 3
[[sink]]
type = "record"
[[alert]]
code = "PUMP.SCORE"
figure = "bundle.score"
high = 3.0
"""
PLC = BASE[BASE.index('type = "modbus"') : BASE.index("[[step]]")]
CAMERA = 'type = "mqtt"\nurl = "mqtt://h"\ntags = [{ name = "camera", topic = "c", kind = "image" }]\n'
# (what stands there, what is written instead, the line, what is said of it)
CASES: list[tuple[str, str, int, str]] = [
    ("schema = 1", "schema = 2", 1, "schema: this program reads schema 1"),
    ("schema = 1\n", "", 1, "'schema' is missing"),
    ("schema = 1", 'schema = "1"', 1, "schema: this program reads schema 1"),
    ('name = "pump"\n[[', "[[", 1, "'name' is missing"),
    ('name = "pump"', "name = 3", 2, "name: is text"),
    ('name = "pump"', 'nam = "pump"', 2, "nam: unknown key"),
    ('name = "pump"', 'name = "pump', 2, "Illegal character '\\n'"),
    ('name = "pump"', 'name = "pump"\nname = "two"', 3, "Cannot overwrite a value"),
    ('[[step]]\nuse = "window"', '[step]\nuse = "window"', 18, "Cannot declare ('step',) twice"),
    ("[model]", "[[model]]", 22, "model: written [model]"),
    ("[decide]", "[[decide]]", 24, "decide: written [decide]"),
    ("[model]\ninputs", "inputs", 1, "'model' is missing"),
    ("[decide]\nuse", "use", 1, "'decide' is missing"),
    ('name = "pump"', 'name = "pump"\nfoo = 1', 3, "foo: unknown key"),
    ("[[sink]]", "[[sinks]]", 29, "sinks: unknown key"),
    ("[[source]]", "[[sources]]", 3, "sources: unknown key"),
    ("[[source]]", "[source]", 3, "source: written [[source]]"),
    ("[[alert]]", "[alert]", 31, "alert: written [[alert]]"),
    ('id = "plc"\n', "", 3, "source: 'id' is missing"),
    ('id = "plc"', "id = 3", 4, "source.id: is text"),
    ('type = "modbus"\n', "", 3, "source: 'type' is missing"),
    ('type = "modbus"', 'type = "modbas"', 5, "source.type: there is no 'modbas'"),
    ('type = "modbus"', "type = 3", 5, "source.type: is text"),
    ('url = "tcp://10.0.0.5:502"\n', "", 3, "source: 'url' is missing"),
    ('url = "tcp://10.0.0.5:502"', "url = 502", 6, "source.url: expected text, got a whole number"),
    (
        'url = "tcp://10.0.0.5:502"',
        'url = "10.0.0.5"',
        6,
        "source.url: '10.0.0.5' is not an address like tcp://10.0.0.5:502, rtu:///dev/ttyUSB0?baud=1",
    ),
    (
        'url = "tcp://10.0.0.5:502"',
        'url = "http://10.0.0.5"',
        6,
        "source.url: 'http://10.0.0.5' is not an address like tcp://10.0.0.5:502, rtu:///dev/ttyUSB0",
    ),
    ('url = "tcp://10.0.0.5:502"', 'url = "tcp://10.0.0.5:99999"', 3, "source: Port out of range 0-65535"),
    ('poll = "1s"', "poll = 1", 7, 'source.poll: a duration is a number with its unit: "250ms", "3s", "5min", "24h"'),
    ('poll = "1s"', 'poll = "1"', 7, 'source.poll: a duration is a number with its unit: "250ms", "3s", "5min", "24h"'),
    (
        'poll = "1s"',
        'poll = "1 sec"',
        7,
        'source.poll: a duration is a number with its unit: "250ms", "3s", "5min", "24h"',
    ),
    ('poll = "1s"', 'poll = "0s"', 7, "source.poll: 'poll' and 'timeout' are longer than nothing"),
    (
        'poll = "1s"',
        'poll = "-1s"',
        7,
        'source.poll: a duration is a number with its unit: "250ms", "3s", "5min", "24h"',
    ),
    ('poll = "1s"', 'pol = "1s"', 7, "source.pol: unknown key"),
    ('poll = "1s"', 'poll = "1s"\nunit_id = 300', 8, "source.unit_id: expected a whole number <= 255"),
    ('poll = "1s"', 'poll = "1s"\nunit_id = "one"', 8, "source.unit_id: expected a whole number, got text"),
    ('poll = "1s"', 'poll = "1s"\norder = "ABDC"', 8, "source.order: tag 'speed': there is no order 'ABDC' of 4 bytes"),
    ('poll = "1s"', 'poll = "1s"\nmax_gap = -1', 8, "source.max_gap: expected a whole number >= 0"),
    ('poll = "1s"', 'poll = "1s"\ntimeout = "0s"', 7, "source.poll: 'poll' and 'timeout' are longer than nothing"),
    (
        "holding:0",
        "holding",
        9,
        "source.tags: tag 'speed': 'holding' is not an address like holding:8, input:0, coil:3, disc",
    ),
    (
        "holding:0",
        "holding:-1",
        9,
        "source.tags: tag 'speed': 'holding:-1' is not an address like holding:8, input:0, coil:3, d",
    ),
    ("holding:0", "holding:70000", 9, "source.tags: tag 'speed': there is no holding:70000"),
    (
        "holding:0",
        "holdin:0",
        9,
        "source.tags: tag 'speed': 'holdin:0' is not an address like holding:8, input:0, coil:3, dis",
    ),
    (
        'type = "float32"',
        'type = "float"',
        9,
        "source.tags: tag 'speed': the type of holding:0 is int16, uint16, int32, uint32, float32, i",
    ),
    ('type = "float32"', 'typ = "float32"', 9, "source.tags.typ: unknown key"),
    ('name = "speed", register', "register", 9, "source.tags: it has no `name`"),
    ('name = "power"', 'name = "speed"', 3, "source: each tag has a name of its own, and there is at least one"),
    ('register = "holding:0", ', "", 9, "source.tags: the tag 'speed' has no register, here or in the binding"),
    ('unit = "kW"', 'scale = "x"', 10, "source.tags.scale: expected a number, got text"),
    ("tags = [", "tag = [", 8, "source.tag: unknown key"),
    (
        '[[step]]\nuse = "validate.range"',
        '[[source]]\nid = "plc"\ntype = "push"\ntags = ["x"]\n[[step]]\nuse = "validate.range"',
        13,
        "source.id: there is a source 'plc' already",
    ),
    ('use = "validate.range"\n', "", 12, "step: 'use' is missing"),
    ('use = "validate.range"', "use = 3", 13, "step.use: is text"),
    ('"validate.range"', '"validate.rnge"', 13, "step.use: there is no 'validate.rnge'"),
    ('"validate.range"', '"validat.range"', 13, "step.use: there is no 'validat.range'"),
    ('"validate.range"', '"range"', 13, "step.use: there is no 'range'"),
    ("limits = { speed = [0, 3600] }\n", "", 12, "step: say either 'limits' by tag, or 'low' and 'high'"),
    ("[0, 3600]", "[0]", 14, "step.limits: expected a list of length 2, got 1"),
    ("[0, 3600]", "[3600, 0]", 14, "step.limits.speed: the limits of 'speed' are [low, high]"),
    ("[0, 3600]", '["0", 3600]', 14, "step.limits: expected a number, got text"),
    ("{ speed = [0", "{ sped = [0", 14, "step.limits.sped: there is no tag 'sped' here"),
    ("limits = {", "limit = {", 14, "step.limit: unknown key"),
    (
        "limits = { speed = [0, 3600] }",
        'limits = { speed = [0, 3600] }\non_fail = "drop"',
        15,
        "step.on_fail: there is no 'drop'",
    ),
    (
        "limits = { speed = [0, 3600] }",
        "limits = { speed = [0, 3600] }\nlow = 0",
        14,
        "step.limits: say either 'limits' by tag, or 'low' and 'high'",
    ),
    ("window = 7", "window = 0", 17, "step.window: expected a whole number >= 3"),
    ("window = 7", "window = 7.5", 17, "step.window: expected a whole number, got a number"),
    ("window = 7", 'window = "7"', 17, "step.window: expected a whole number, got text"),
    ("window = 7", "n_sigmas = 3", 17, "step.n_sigmas: unknown key"),
    ("window = 7", "window = 7\nn_sigma = -1", 18, "step.n_sigma: expected a number > 0.0"),
    ("window = 7", "window = 7\nmin_step = { sped = 1 }", 18, "step.min_step.sped: there is no tag 'sped' here"),
    ("size = 30\n", "", 18, "step: 'size' is missing"),
    ("size = 30", "size = 0", 20, "step.size: expected a whole number >= 1"),
    ("size = 30", 'size = "30"', 20, "step.size: expected a whole number, got text"),
    ("size = 30", 'size = "30s"', 20, "step.size: expected a whole number, got text"),
    (
        '["Average"]',
        '["Mean"]',
        21,
        "step.aggregates: 'aggregates' are among Average, Minimum, Maximum, Range, StandardDeviation",
    ),
    ('["Average"]', '"Average"', 21, "step.aggregates: expected a list, got text"),
    (
        '["Average"]',
        "[]",
        21,
        "step.aggregates: 'aggregates' are among Average, Minimum, Maximum, Range, StandardDeviation",
    ),
    ("size = 30", "size = 30\nmin_percent_good = 120", 21, "step.min_percent_good: expected a number <= 100.0"),
    ("size = 30", "size = 30\nstep = 40", 21, "step.step: unknown key"),
    (
        'use = "window"\nsize = 30\naggregates = ["Average"]',
        'use = "derive"\ntags = { eff = "power /" }',
        20,
        "step.tags.eff: 'eff' is not arithmetic: power /",
    ),
    (
        'use = "window"\nsize = 30\naggregates = ["Average"]',
        'use = "derive"\ntags = { eff = "__import__(\'os\')" }',
        18,
        "step: \"__import__('os')\" is not arithmetic that a pipeline may use",
    ),
    (
        'use = "window"\nsize = 30\naggregates = ["Average"]',
        'use = "derive"\ntags = { eff = "powr * 2" }',
        18,
        "step: there is no tag 'powr' here",
    ),
    (
        'use = "window"\nsize = 30\naggregates = ["Average"]',
        'use = "gate"\nwhen = "speed >"',
        20,
        "step.when: 'when' is a tag, one of > < >= <= == !=, and a number: \"speed > 500\"",
    ),
    (
        'use = "window"\nsize = 30\naggregates = ["Average"]',
        'use = "transform.unit"\nunits = { power = ["kW", "bar"] }',
        20,
        "step.units: unknown key",
    ),
    (
        'use = "window"\nsize = 30\naggregates = ["Average"]',
        'use = "transform.unit"\nunits = { power = ["kW", "horse"] }',
        20,
        "step.units: unknown key",
    ),
    ('inputs = ["speed.Average", "power.Average"]\n', "", 22, "model: 'inputs' is missing"),
    (
        'inputs = ["speed.Average", "power.Average"]',
        'inputs = "speed"',
        23,
        "model.inputs: expected a table or a list, got text",
    ),
    (
        'inputs = ["speed.Average", "power.Average"]',
        'inputs = ["speed"]',
        23,
        "model.inputs: there is no tag 'speed' at the model",
    ),
    (
        'inputs = ["speed.Average", "power.Average"]',
        "inputs = []",
        23,
        "model.inputs: 'inputs' names no tag: a model that is given nothing says nothing",
    ),
    (
        'inputs = ["speed.Average", "power.Average"]',
        'inputs = ["speed.Average", 3]',
        23,
        "model.inputs: expected text, got a whole number",
    ),
    ('inputs = ["sp', 'input = ["sp', 23, "model.input: unknown key"),
    ("[decide]", 'on_bad_input = "drop"\n[decide]', 24, "model.on_bad_input: there is no 'drop'"),
    ("[decide]", "batch_max = 0\n[decide]", 24, "model.batch_max: expected a whole number >= 1"),
    ("[decide]", "batch_max = 5000\n[decide]", 24, "model.batch_max: expected a whole number <= 1024"),
    ("[decide]", "warm_up = 3\n[decide]", 24, "model.warm_up: 'state_reset' and 'warm_up' belong to a 'state'"),
    ("[decide]", "state = { h = 3 }\n[decide]", 24, "model.state: expected text, got a whole number"),
    ("[decide]", 'state = "h"\n[decide]', 24, "model.state: expected a table, got text"),
    ("[decide]", 'constants = { h = "x" }\n[decide]', 24, "model.constants: expected a number or a list, got text"),
    ("[decide]", '[[then]]\nmodel = "b"\n[decide]', 24, "then: say what the model is given: 'inputs', or 'crop'"),
    ("[decide]", '[[then]]\ninputs = { x = "y" }\n[decide]', 24, "then: 'model' is missing"),
    (
        "[decide]",
        '[[then]]\nmodel = "B"\ninputs = { x = "y" }\n[decide]',
        25,
        "then.model: 'model' is a name of small letters, digits, _ and -",
    ),
    (
        "[decide]",
        '[[then]]\nmodel = "b"\ninputs = { x = "y" }\nwhen = "y"\n[decide]',
        27,
        "then.when: 'when' reads: output >= 0.5, or output:1 < 3",
    ),
    (
        "[decide]",
        '[[then]]\nmodel = "b"\ninputs = { x = "y" }\nwhen = "y > 1"\n[decide]',
        24,
        "then: 'otherwise' says what its outputs are where it is not asked",
    ),
    (
        "[decide]",
        '[[then]]\nmodel = "b"\ninputs = { x = "y" }\n[[then]]\nmodel = "b"\ninputs = { x = "y" }\n[decide]',
        28,
        "then.model: there is a [[then]] for 'b' already",
    ),
    (
        "[decide]",
        '[[then]]\nmodel = "b"\ncrop = { input = "x", map = "m" }\n[decide]',
        26,
        "then.crop: it has no `size`",
    ),
    (
        "[decide]",
        '[[then]]\nmodel = "b"\ncrop = { input = "x", map = "m", boxes = "b", size = [1, 1] }\n[decide]',
        26,
        "then.crop: a crop has either a 'map' or 'boxes'",
    ),
    ('use = "alarm"\n', "", 24, "decide: 'use' is missing"),
    ('use = "alarm"', 'use = "alrm"', 25, "decide.use: there is no 'alrm'"),
    ('score = "score"\n', "", 24, "decide: 'score' is missing"),
    ('score = "score"', "score = 1", 26, "decide.score: expected text, got a whole number"),
    ("high = 1.0\non", "on", 24, "decide: an alarm has either 'high' or 'low'"),
    ("high = 1.0\non", "high = 1.0\nlow = 0\non", 27, "decide.high: an alarm has either 'high' or 'low'"),
    ("high = 1.0\non", 'high = "1.0"\non', 27, "decide.high: expected a number, got text"),
    ("on_count = 3", "on_count = 0", 28, "decide.on_count: expected a whole number >= 1"),
    (
        "on_count = 3",
        'on_count = 3\non_delay = "3s"',
        28,
        "decide.on_count: either 'on_count' (predictions) or 'on_delay' (time), not both",
    ),
    ("on_count = 3", "on_cont = 3", 28, "decide.on_cont: unknown key"),
    ("on_count = 3", "deadband = -1", 28, "decide.deadband: expected a number >= 0.0"),
    (
        'use = "alarm"\nscore = "score"\nhigh = 1.0\non_count = 3',
        'use = "vote"\nscore = "score"\nhigh = 1.0\nk = 4\nn = 3',
        28,
        "decide.k: 'k' is larger than 'n': that many are never over",
    ),
    (
        'use = "alarm"\nscore = "score"\nhigh = 1.0\non_count = 3',
        'use = "vote"\nscore = "score"\nhigh = 1.0\nk = 2',
        24,
        "decide: 'n' is missing",
    ),
    (
        'use = "alarm"\nscore = "score"\nhigh = 1.0\non_count = 3',
        'use = "classes"\nscore = "score"',
        24,
        "decide: 'reject_at' is missing",
    ),
    (
        'use = "alarm"\nscore = "score"\nhigh = 1.0\non_count = 3',
        'use = "classes"\nscore = "score"\nreject_at = 0.5\nreview_at = 0.7',
        27,
        "decide.reject_at: 'review_at' lies above 'reject_at'",
    ),
    ('type = "record"', 'type = "recrd"', 30, "sink.type: there is no 'recrd'"),
    ('type = "record"\n', "", 29, "sink: 'type' is missing"),
    ('type = "record"', 'type = "record"\nfoo = 1', 31, "sink.foo: unknown key"),
    ('type = "record"', 'type = "mqtt"', 29, "sink: 'url' is missing"),
    (PLC, CAMERA.replace('"image"', '"picture"'), 7, "source.tags.kind: there is no 'picture'"),
    (PLC, CAMERA + 'every = "1s"\n', 8, "source.every: without 'every': a sweep leaves with each message of 'camera'"),
    (
        PLC,
        CAMERA.replace("topic", 'path = "a", topic'),
        7,
        "source.tags: the tag 'camera' is an image: the whole payload",
    ),
    (
        PLC,
        CAMERA.replace("[{", '[{ name = "part", topic = "p" }, {'),
        7,
        "source.tags: the tag 'camera' is no number: one waveform",
    ),
    ('type = "record"', 'type = "mqtt"\nurl = "mqtt://h"\ntopic = "t"\nqos = 3', 33, "sink.qos: there is no 3"),
    ('type = "record"', 'type = "http"', 29, "sink: 'url' is missing"),
    (
        'type = "record"',
        'type = "http"\nurl = "ftp://x"',
        31,
        "sink.url: 'ftp://x' is not an address like https://mes.plant:8443/outcomes",
    ),
    (
        'type = "record"',
        'type = "modbus.write"\nurl = "tcp://h:502"\nregister = "input:1"\nwhen = "alarm"\nvalue = 1',
        29,
        "sink: 'guard' is missing",
    ),
    ('code = "PUMP.SCORE"\n', "", 31, "alert: 'code' is missing"),
    ('"PUMP.SCORE"', '"pump"', 32, 'alert.code: a code is words in capitals with a dot, such as "PUMP.HOT"'),
    ('"bundle.score"', '"bundle.scor"', 33, "alert.figure: there is no 'bundle.scor'"),
    ('"bundle.score"', '"host.load_1m"', 33, "alert.figure: there is no 'host.load_1m'"),
    ("high = 3.0\n", "", 31, "alert: 'high' or 'low' is missing"),
    ("high = 3.0", 'high = "3"', 34, "alert.high: expected a number, got text"),
    ("high = 3.0", "high = 3.0\npriority = 0", 35, "alert.priority: expected a whole number >= 1"),
    ("[model]", "[model", 22, "Expected ']' at the end of a table declaration"),
    ("size = 30", "size = ", 20, "Invalid value"),
    ("size = 30", "size = 30 30", 20, "Expected newline or end of document after a statement"),
    ("size = 30", "size == 30", 20, "Invalid value"),
    ("{ speed = [0, 3600] }", "{ speed = [0, 3600] ", 14, "Unclosed inline table"),
    ('"holding:0"', '"holding:0', 9, "Unclosed inline table"),
    ('poll = "1s"', 'poll = "1s"\n\tx y', 8, "Expected '=' after a key in a key/value pair"),
]


def check(text: str) -> None:
    Rehearsal.check(load(text, bindings={}))


def test_the_file_that_is_made_wrong_is_in_order() -> None:
    check(BASE)


def test_there_are_a_hundred_wrong_files_and_no_two_are_the_same() -> None:
    wrong = {BASE.replace(old, new, 1) for old, new, _, _ in CASES}
    assert len(wrong) == len(CASES) >= 100
    assert BASE not in wrong


@pytest.mark.parametrize(("old", "new", "line", "said"), CASES, ids=[f"{at}" for at in range(len(CASES))])
def test_a_wrong_file_is_told_with_its_line_and_in_plain_words(old: str, new: str, line: int, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(BASE.replace(old, new, 1))
    text = str(caught.value)
    assert caught.value.line == line
    assert text.startswith(f"pipeline.toml:{line}: {said}")
    for word in ("Traceback", "NoneType", "object has no", "msgspec", "`str`", "`int`", "`float`"):
        assert word not in text
