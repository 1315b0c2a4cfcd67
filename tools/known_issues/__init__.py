# SPDX-License-Identifier: GPL-2.0-only
"""Known issues in the forms of CI systems: a module a form (docs/ci.md)."""
