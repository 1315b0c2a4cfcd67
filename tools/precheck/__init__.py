# SPDX-License-Identifier: GPL-2.0-only
"""Make kvmtests-precheck, the check for a fleet: one file, cut out of this tree by what imports what."""
