"""The tables of node.db as named steps. Steps only add: the previous agent opens this agent's database (I14).

`store.migrations` applies them in a process of its own. What must never happen is refused by the database itself:
a second trial on the node, a final state that changes, a floor that sinks, a ledger entry that is edited.
"""

from __future__ import annotations

import sqlite3

MIGRATION_SET = "node"

_DEPLOYMENTS = """
CREATE TABLE identity (
  id INTEGER PRIMARY KEY CHECK (id = 1), node_id TEXT NOT NULL, created_wall_us INTEGER NOT NULL
);
CREATE TABLE boots (
  number INTEGER PRIMARY KEY, boot_id TEXT NOT NULL UNIQUE, boottime_us INTEGER NOT NULL, wall_us INTEGER NOT NULL
);
CREATE TABLE clock (
  boot_number INTEGER NOT NULL, boottime_us INTEGER NOT NULL, wall_us INTEGER NOT NULL,
  PRIMARY KEY (boot_number, boottime_us)
) WITHOUT ROWID;
CREATE TABLE ledger (
  seq INTEGER PRIMARY KEY, boot_id TEXT NOT NULL, boottime_us INTEGER NOT NULL, wall_us INTEGER NOT NULL,
  actor TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL, detail TEXT NOT NULL,
  previous TEXT NOT NULL, hash TEXT NOT NULL
);
CREATE TRIGGER ledger_is_not_edited BEFORE UPDATE ON ledger BEGIN SELECT RAISE(ABORT, 'the ledger only grows'); END;
CREATE TRIGGER ledger_is_not_cut BEFORE DELETE ON ledger BEGIN SELECT RAISE(ABORT, 'the ledger only grows'); END;
CREATE TABLE deployments (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL DEFAULT 'bundle' CHECK (kind IN ('bundle', 'revert', 'binding')),
  bundle TEXT NOT NULL, version TEXT NOT NULL, digest TEXT NOT NULL, signature TEXT NOT NULL DEFAULT '',
  signer TEXT NOT NULL DEFAULT '', epoch INTEGER NOT NULL, sequence INTEGER NOT NULL,
  binding_revision INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL CHECK (state IN
    ('RECEIVING', 'STAGED', 'PREFLIGHT_OK', 'TRIAL', 'COMMITTED', 'ROLLED_BACK', 'REFUSED')),
  reason TEXT CHECK (reason IN ('FAILED', 'UNCONFIRMED', 'INTERRUPTED', 'REVERTED')),
  error_code TEXT NOT NULL DEFAULT '', error_message TEXT NOT NULL DEFAULT '', error_hint TEXT NOT NULL DEFAULT '',
  revision INTEGER, previous_revision INTEGER, boot_id TEXT NOT NULL DEFAULT '', deadline_us INTEGER,
  window_us INTEGER NOT NULL, tries INTEGER NOT NULL DEFAULT 0, preflight TEXT NOT NULL DEFAULT '{}',
  switch_gap_us INTEGER, reachability TEXT NOT NULL DEFAULT '', actor TEXT NOT NULL,
  created_wall_us INTEGER NOT NULL, changed_wall_us INTEGER NOT NULL, changed_boottime_us INTEGER NOT NULL,
  CHECK ((state = 'ROLLED_BACK') = (reason IS NOT NULL)),
  CHECK (state <> 'TRIAL' OR (revision IS NOT NULL AND deadline_us IS NOT NULL AND boot_id <> ''))
);
CREATE UNIQUE INDEX deployments_one_trial ON deployments (state) WHERE state = 'TRIAL';
CREATE INDEX deployments_by_bundle ON deployments (bundle, number);
CREATE TRIGGER deployments_final_is_final BEFORE UPDATE OF state ON deployments
  WHEN OLD.state IN ('COMMITTED', 'ROLLED_BACK', 'REFUSED') AND NEW.state <> OLD.state
  BEGIN SELECT RAISE(ABORT, 'a final state stays'); END;
CREATE TABLE revisions (
  bundle TEXT NOT NULL, revision INTEGER NOT NULL, version TEXT NOT NULL, digest TEXT NOT NULL,
  signature TEXT NOT NULL DEFAULT '', epoch INTEGER NOT NULL, sequence INTEGER NOT NULL,
  binding_revision INTEGER NOT NULL, deployment TEXT NOT NULL, since_us INTEGER NOT NULL,
  PRIMARY KEY (bundle, revision)
) WITHOUT ROWID;
CREATE TABLE active (
  bundle TEXT PRIMARY KEY, revision INTEGER, previous INTEGER, good INTEGER
) WITHOUT ROWID;
CREATE TABLE floors (
  bundle TEXT PRIMARY KEY, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TRIGGER floors_never_sink BEFORE UPDATE ON floors WHEN (NEW.epoch, NEW.sequence) < (OLD.epoch, OLD.sequence)
  BEGIN SELECT RAISE(ABORT, 'the floor never sinks'); END;
CREATE TRIGGER floors_stay BEFORE DELETE ON floors BEGIN SELECT RAISE(ABORT, 'the floor never sinks'); END;
"""

_STANDING = """
CREATE TABLE bindings (
  revision INTEGER PRIMARY KEY, content TEXT NOT NULL, actor TEXT NOT NULL, wall_us INTEGER NOT NULL
);
CREATE TABLE lease (
  id INTEGER PRIMARY KEY CHECK (id = 1), holder TEXT NOT NULL, token INTEGER NOT NULL,
  boot_id TEXT NOT NULL, deadline_us INTEGER NOT NULL
);
CREATE TRIGGER lease_token_rises BEFORE UPDATE ON lease WHEN NEW.token < OLD.token
  BEGIN SELECT RAISE(ABORT, 'the lease token only rises'); END;
CREATE TABLE standing (
  name TEXT PRIMARY KEY CHECK (name IN ('hold', 'out_of_service')), by TEXT NOT NULL, reason TEXT NOT NULL,
  since_us INTEGER NOT NULL, until_us INTEGER
) WITHOUT ROWID;
CREATE TABLE alerts (
  id INTEGER PRIMARY KEY AUTOINCREMENT, code TEXT NOT NULL, subject TEXT NOT NULL,
  priority INTEGER NOT NULL CHECK (priority BETWEEN 1 AND 4),
  state TEXT NOT NULL CHECK (state IN ('raised', 'acknowledged', 'shelved', 'cleared')),
  message TEXT NOT NULL, advice TEXT NOT NULL, raised_us INTEGER NOT NULL,
  acknowledged_by TEXT NOT NULL DEFAULT '', acknowledged_us INTEGER, note TEXT NOT NULL DEFAULT '',
  cleared_us INTEGER
);
CREATE UNIQUE INDEX alerts_one_open ON alerts (code, subject) WHERE state <> 'cleared';
CREATE TABLE labels (
  id INTEGER PRIMARY KEY AUTOINCREMENT, bundle TEXT NOT NULL, record_key INTEGER NOT NULL, label TEXT NOT NULL,
  note TEXT NOT NULL, actor TEXT NOT NULL, wall_us INTEGER NOT NULL
);
CREATE INDEX labels_by_record ON labels (bundle, record_key);
CREATE TABLE trend (
  bundle TEXT NOT NULL, step_s INTEGER NOT NULL, key INTEGER NOT NULL, wall_us INTEGER NOT NULL,
  inferences_per_s REAL, latency_ms_p95 REAL, cpu_percent REAL, memory_percent REAL, rejects_per_s REAL,
  PRIMARY KEY (bundle, step_s, key)
) WITHOUT ROWID;
"""

_CHANGE_CONTROL = """
CREATE TABLE permits_used (
  id TEXT PRIMARY KEY, subject TEXT NOT NULL, deployment TEXT NOT NULL, signer TEXT NOT NULL, wall_us INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TRIGGER permits_stay_used BEFORE DELETE ON permits_used
  BEGIN SELECT RAISE(ABORT, 'a permit counts once'); END;
CREATE TABLE emergencies (
  id INTEGER PRIMARY KEY AUTOINCREMENT, subject TEXT NOT NULL, actor TEXT NOT NULL, reason TEXT NOT NULL,
  wall_us INTEGER NOT NULL, reviewed_by TEXT NOT NULL DEFAULT '', reviewed_us INTEGER, note TEXT NOT NULL DEFAULT ''
);
CREATE TABLE owners (
  name TEXT NOT NULL, since_us INTEGER NOT NULL, owner TEXT NOT NULL, PRIMARY KEY (name, since_us)
) WITHOUT ROWID;
CREATE TABLE forwarded (
  target TEXT PRIMARY KEY, seq INTEGER NOT NULL, lost_total INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
"""

_SHELVES = """
CREATE TABLE shelves (
  code TEXT NOT NULL, subject TEXT NOT NULL, actor TEXT NOT NULL, note TEXT NOT NULL,
  boot_id TEXT NOT NULL, until_us INTEGER NOT NULL, PRIMARY KEY (code, subject)
) WITHOUT ROWID;
"""

_TREND_SCORES = """
CREATE TABLE trend_scores (
  bundle TEXT NOT NULL, step_s INTEGER NOT NULL, key INTEGER NOT NULL, score REAL NOT NULL,
  PRIMARY KEY (bundle, step_s, key)
) WITHOUT ROWID;
"""

_LABEL_FACTS = """
CREATE TABLE label_facts (
  id INTEGER PRIMARY KEY, revision INTEGER NOT NULL, version TEXT NOT NULL, decision TEXT NOT NULL, score REAL
);
"""

_DEPLOYMENT_ENDS = """
CREATE TABLE deployment_ends (id TEXT PRIMARY KEY, actor TEXT NOT NULL) WITHOUT ROWID;
"""

_LABEL_CONTEXTS = """
CREATE TABLE label_contexts (id INTEGER PRIMARY KEY, context TEXT NOT NULL);
"""

# Name -> SQL, applied in this order. A released step is never edited and never removed; later ones only add.
STEPS: dict[str, str] = {
    "0001_deployments": _DEPLOYMENTS,
    "0002_standing": _STANDING,
    "0003_change_control": _CHANGE_CONTROL,
    "0004_shelves": _SHELVES,
    "0005_trend_scores": _TREND_SCORES,
    "0006_label_facts": _LABEL_FACTS,
    "0007_deployment_ends": _DEPLOYMENT_ENDS,
    "0008_label_contexts": _LABEL_CONTEXTS,
}


def missing_steps(connection: sqlite3.Connection) -> list[str]:
    """Steps that this agent needs and the database lacks. Steps of a later agent do no harm and are not looked at."""
    known = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = '_sqlite_migrations'").fetchone()
    if known is None:
        return list(STEPS)
    rows = connection.execute("SELECT name FROM _sqlite_migrations WHERE migration_set = ?", (MIGRATION_SET,))
    applied = {name for (name,) in rows}
    return [name for name in STEPS if name not in applied]
