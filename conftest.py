# SPDX-License-Identifier: GPL-2.0-only
"""Names the plug-ins; holds no code."""

pytest_plugins = [
    "fixtures.plugins.garbage",
    "fixtures.plugins.options",
    "fixtures.plugins.targets",
    "fixtures.plugins.left_out",
    "fixtures.plugins.places",
    "fixtures.plugins.conditions",
    "fixtures.plugins.one_kind",
    "fixtures.plugins.reproduce",
    "fixtures.plugins.steps",
    "fixtures.plugins.time_limit",
    "fixtures.plugins.vms",
    "fixtures.plugins.second_host",
    "fixtures.plugins.benchmark",
    "fixtures.plugins.verdicts",
    "fixtures.plugins.kernel_log",
    "fixtures.plugins.known_issues",
    "fixtures.plugins.promises",
    "fixtures.plugins.agreement",
    "fixtures.plugins.lab",
    "fixtures.plugins.defects",
    "reports.plugin",
]
