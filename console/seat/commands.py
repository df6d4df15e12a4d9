"""Every command, declared once: its key, its word, its help, where it works, and whether it needs OPERATE.

The footer, `?`, the palette and the bindings are all made from this table. A key means one thing on a screen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Screen = Literal[
    "fleet",
    "node",
    "alerts",
    "logs",
    "chart",
    "deploy",
    "watch",
    "rollouts",
    "catalog",
    "records",
    "ledger",
    "chain",
    "tap",
]
MAIN: Final[tuple[Screen, ...]] = (
    "fleet",
    "node",
    "alerts",
    "logs",
    "chart",
    "watch",
    "rollouts",
    "catalog",
    "records",
    "ledger",
    "chain",
)
EVERYWHERE: Final[tuple[Screen, ...]] = (*MAIN, "deploy", "tap")
LISTS: Final[tuple[Screen, ...]] = ("fleet", "node", "alerts", "logs", "catalog", "records", "ledger", "chain")
# A chart has a cursor of its own for these keys, and a log its long lines.
SCRUBBED: Final[tuple[Screen, ...]] = tuple(screen for screen in MAIN if screen not in ("chart", "logs"))
ABOUT_A_NODE: Final[tuple[Screen, ...]] = ("fleet", "node", "alerts")


@dataclass(frozen=True, slots=True)
class Command:
    """One thing a person can ask for. `keys` as Textual names them, `shown` as a person reads them.

    `footer` orders the last row, 0 keeps it out. `operate`: refused in MONITOR.
    """

    name: str
    keys: str
    shown: str
    word: str
    help: str
    screens: tuple[Screen, ...] = MAIN
    footer: int = 0
    operate: bool = False
    palette: bool = True


COMMANDS: Final[tuple[Command, ...]] = (
    # moving about
    Command("open", "enter", "enter", "open", "Open what the cursor is on", LISTS, 1),
    Command("back", "escape", "esc", "back", "Go back, or clear the filter", EVERYWHERE, 90, palette=False),
    Command("screen_fleet", "1", "1", "fleet", "The fleet: all nodes, worst first"),
    Command("screen_alerts", "2", "2", "alerts", "Alerts of all nodes, and who acknowledged them"),
    Command("screen_rollouts", "3", "3", "rollouts", "Rollouts: waves, gates with their figures, what failed and why"),
    Command("screen_catalog", "4", "4", "catalog", "Bundles of this console, and where each is active"),
    Command("screen_logs", "5", "5", "logs", "Log lines of the marked nodes, or of those shown, on one time axis"),
    Command("screen_records", "6", "6", "records", "What the models of the marked nodes, or of all, saw and said"),
    Command("screen_ledger", "7", "7", "ledger", "Who did what on each node, and whether its history can be believed"),
    Command("history_back", "left_square_bracket", "[", "earlier", "The place before this one", palette=False),
    Command("history_on", "right_square_bracket", "]", "later", "The place after this one", palette=False),
    Command("next_tab", "tab", "tab", "next tab", "The next tab of this node", ("node",), 2, palette=False),
    Command("last_tab", "shift+tab", "S-tab", "last tab", "The tab before", ("node",), palette=False),
    # a chart
    Command("read_left", "left", "left", "read", "Move the cursor that reads values to the left", ("chart",), 1,
            palette=False),
    Command("read_right", "right", "right", "read on", "Move it to the right", ("chart",), palette=False),
    Command("read_far_left", "shift+left", "S-left", "read far", "Ten columns to the left", ("chart",), palette=False),
    Command("read_far_right", "shift+right", "S-right", "far on", "Ten columns to the right", ("chart",),
            palette=False),
    Command("next_figure", "tab", "tab", "figure", "The next figure: rate, latency, score, rejects, host",
            ("chart",), 2, palette=False),
    Command("last_figure", "shift+tab", "S-tab", "last figure", "The figure before", ("chart",), palette=False),
    Command("histogram", "H", "H", "histogram", "How latencies are spread, or how they went over time", ("chart",), 3),
    Command("zoom_out", "minus", "-", "longer", "A longer time: up to 30 days", ("chart",), 4),
    Command("zoom_in", "plus,equals_sign", "+", "shorter", "A shorter time: down to a minute", ("chart",), 5),
    Command("beside", "n", "n", "beside", "The marked nodes in the same chart, or this one alone", ("chart",), 7),
    Command("next_bundle", "b", "b", "bundle", "The next bundle of this node; in a chart also all of them together",
            ("chart", "node"), 6),
    # what is shown
    Command("filter", "slash", "/", "filter", "Show only what matches: site:press state:warn model:bearing, ! inverts",
            LISTS, 3),
    Command("faults", "exclamation_mark", "!", "faults", "Show only what is not normal",
            ("fleet", "alerts", "records", "ledger"), 4),
    Command("mark", "space", "space", "mark", "Mark the node under the cursor", ("fleet",), 8),
    Command("mark_all", "asterisk", "*", "mark all", "Mark every node shown", ("fleet",)),
    Command("unmark", "U", "U", "unmark", "Forget all marks", ("fleet",)),
    Command("sort", "s", "s", "sort", "Sort by the next column", ("fleet",), 7),
    Command("sort_reverse", "S", "S", "reverse", "Sort the other way round", ("fleet",)),
    Command("group", "b", "b", "by site", "Group by site, line or model with a subtotal each", ("fleet",)),
    Command("wall", "w", "w", "wall", "One cell a node, or the table again", ("fleet",), 13),
    Command("level", "v", "v", "level", "Show only lines of this level and above", ("logs", "node"), 4),
    Command("pause", "p", "p", "pause", "Hold the picture still; the data goes on", (*MAIN, "tap")),
    Command("find", "f", "f", "find", "Go to the next older line with these words", ("logs",), 6),
    Command("find_next", "n", "n", "newer", "The next newer line with the words looked for", ("logs",)),
    Command("find_last", "N", "N", "older", "The next older line with the words looked for", ("logs",)),
    # on a node
    Command("logs_of", "l", "l", "logs", "The log of this node",
            ("fleet", "node", "alerts", "records", "ledger", "chain"), 5),
    Command("checks", "c", "c", "checks", "The node looks at itself: what is not well, and what to do",
            ABOUT_A_NODE, 8),
    Command("alert_rules", "A", "A", "rules", "Its alert rules: limits, delays, where each is from, what is shelved",
            ABOUT_A_NODE),
    Command("acknowledge", "a", "a", "ack", "Acknowledge the alert: shown in row two, or under the cursor",
            ABOUT_A_NODE, 6),
    Command("shelve", "z", "z", "shelve", "Keep this alert quiet for a time, or no longer", ("alerts",), 7,
            operate=True),
    Command("review", "R", "R", "to label", "Show the records that you should label, or all of them again",
            ("node",), 7),
    Command("label", "L", "L", "label", "Say what this record really was", ("node", "records"), 6),
    Command("deploy", "d", "d", "deploy", "Deploy a bundle to this node", ("fleet", "node"), 5, operate=True),
    Command("rollback", "r", "r", "roll back", "Put back what ran before", ("fleet", "node", "watch"), 9,
            operate=True),
    Command("hold", "h", "h", "hold", "Outputs to the safe value, or release them", ABOUT_A_NODE, 10),
    Command("service", "m", "m", "service", "Take the node out of service, or bring it back", ABOUT_A_NODE, 12,
            operate=True),
    Command("watch", "t", "t", "trial", "Watch the deployment that runs on this node", ("fleet", "node"), 11),
    Command("confirm", "C", "C", "confirm", "Keep the new revision for good", ("watch",), 1, operate=True),
    Command("past_gate", "P", "P", "past gate", "Deploy again whatever the recorder gate said, under your name",
            ("watch",), 4, operate=True),
    Command("extend", "e", "e", "extend", "Give the trial its whole window again", ("watch",), 3, operate=True),
    # a rollout
    Command("rollout_plan", "D", "D", "plan rollout", "Plan a rollout of a bundle to the marked nodes, or to all",
            ("fleet", "rollouts"), 15),
    Command("rollout_go", "c", "c", "carry out", "Start the rollout, or go on with it", ("rollouts",), 1, operate=True),
    Command("rollout_pause", "z", "z", "pause it", "Begin nothing new; running trials are still confirmed",
            ("rollouts",), 2, operate=True),
    Command("rollout_retry", "t", "t", "retry", "Another attempt for the nodes that failed", ("rollouts",), 3,
            operate=True),
    Command("rollout_past", "P", "P", "past gate", "Go on past the gate that stopped it, under your name",
            ("rollouts",), 7, operate=True),
    Command("rollout_keep", "K", "K", "abort, keep", "Give it up; committed nodes stay as they are", ("rollouts",), 4,
            operate=True),
    Command("rollout_revert", "V", "V", "abort, revert", "Give it up; committed nodes go back too", ("rollouts",), 5,
            operate=True),
    Command("more", "space", "space", "more", "What is further down", ("rollouts",), 6, palette=False),
    Command("less", "b", "b", "less", "What is further up", ("rollouts",), palette=False),
    Command("alert_history", "H", "H", "history", "Alerts that were: when, for how long, who acknowledged and why",
            ("alerts",), 8),
    # what the console keeps
    Command("bundle_add", "i", "i", "add", "Take a bundle from a .ostn file or a stick", ("catalog",), 4),
    Command("bundle_deploy", "d", "d", "deploy", "Deploy this bundle to the marked node, or to one that you choose",
            ("catalog",), 5, operate=True),
    Command("bundle_fits", "P", "P", "fits", "Its passport against the marked nodes, or those where it runs",
            ("catalog",), 6),
    Command("records_anew", "u", "u", "newest", "Fetch the newest records again", ("records",), 5),
    Command("verify", "v", "v", "verify", "Fetch what is new of this node's history and verify it",
            ("ledger", "chain"), 4),
    Command("at", "at", "@", "at a time", "What was at a time, such as 12 Mar 14:05: who did what, or the log line",
            ("ledger", "chain", "logs"), 5),
    Command("accept_break", "A", "A", "accept", "End a broken history's alarm, under your name and with a reason",
            ("ledger", "chain"), 7, operate=True),
    Command("node_add", "n", "n", "add node", "Add a node to this console's fleet", ("fleet",), 14),
    Command("demo", "ctrl+d", "ctrl-d", "demo", "Leave, and start a plant of real agents here", ("fleet",)),
    Command("capsule", "x", "x", "capsule", "The last and next ten minutes of the marked nodes, or this one, in a file",
            ABOUT_A_NODE, 16),
    # an opened capsule
    Command("time_back", "comma,left", "left ,", "before", "In an opened capsule: five seconds earlier", SCRUBBED),
    Command("time_on", "full_stop,right", "right .", "after", "In an opened capsule: five seconds later", SCRUBBED),
    Command("time_far_back", "less_than_sign,shift+left", "<", "far before", "In an opened capsule: a minute earlier",
            SCRUBBED),
    Command("time_far_on", "greater_than_sign,shift+right", ">", "far after", "In an opened capsule: a minute later",
            SCRUBBED),
    # the seat
    Command("operate", "o", "o", "operate", "OPERATE, where nodes can be changed, or back to MONITOR", MAIN, 12),
    Command("yank", "y", "y", "yank", "Copy what the cursor is on: clipboard, tmux buffer and a file", EVERYWHERE),
    Command("print", "Y", "Y", "print", "Print this screen as plain text into the scrollback", EVERYWHERE),
    Command("export", "ctrl+e", "ctrl-e", "export", "Write all of this view to a file: .csv, .json, .txt", EVERYWHERE),
    Command("palette", "ctrl+p,colon", ":", "command", "Find a command by its name", MAIN, 80, palette=False),
    Command("cancel", "X", "X", "cancel", "Stop something that this console is doing, such as an upload", EVERYWHERE),
    Command("work", "W", "W", "running", "What this console is doing, and what it has done", MAIN),
    Command("repaint", "ctrl+l", "ctrl-l", "repaint", "Draw the whole screen again", MAIN),
    Command("help", "question_mark", "?", "help", "The keys of this screen", EVERYWHERE, 99),
    Command("quit", "q,ctrl+q,ctrl+c", "q", "quit", "Leave; nodes go on by themselves", MAIN),
    # without a key
    Command("theme_grey", "", "", "theme grey", "Quiet dark grey"),
    Command("theme_daylight", "", "", "theme daylight", "Light grey, for glare"),
    Command("theme_contrast", "", "", "theme contrast", "Black and white, for bad eyes and bad screens"),
    Command("theme_colourblind", "", "", "theme colourblind", "Hues that no kind of colour blindness confuses"),
    Command("theme_sixteen", "", "", "theme sixteen", "The terminal's own sixteen colours"),
    Command("theme_mono", "", "", "theme mono", "No colour: weight and reverse only"),
    Command("theme_auto", "", "", "theme auto", "The theme that fits this terminal"),
    Command("link_lan", "", "", "link lan", "Look at the fleet each second"),
    Command("link_ssh", "", "", "link ssh", "Look at the fleet every two seconds"),
    Command("link_thin", "", "", "link thin", "Look at the fleet every five seconds"),
    Command("link_auto", "", "", "link auto", "As often as this terminal suggests"),
    Command("output", "", "", "output", "How many bytes this screen has sent"),
)  # fmt: skip


def on(screen: Screen) -> tuple[Command, ...]:
    """The commands of a screen, in the order of the table."""
    return tuple(command for command in COMMANDS if screen in command.screens)


def footer(screen: Screen) -> tuple[tuple[str, str], ...]:
    """(key, word) of the last row of a screen; help is always the last."""
    listed = sorted((c for c in on(screen) if c.footer), key=lambda c: c.footer)
    return tuple((c.shown, c.word) for c in listed)


def named(name: str) -> Command:
    """The command of that name. Raises KeyError."""
    return _BY_NAME[name]


def find(words: str, screen: Screen) -> list[Command]:
    """The palette: commands of a screen whose word or help holds all these words, the word first."""
    wanted = words.casefold().split()
    found = []
    for command in on(screen):
        text = f"{command.word} {command.help}".casefold()
        if command.palette and all(word in text for word in wanted):
            found.append((not command.word.casefold().startswith(words.casefold()), command))
    return [command for _, command in sorted(found, key=lambda pair: pair[0])]


_BY_NAME: Final = {command.name: command for command in COMMANDS}
