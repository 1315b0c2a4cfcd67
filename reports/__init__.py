# SPDX-License-Identifier: GPL-2.0-only
"""The reporter: journals in, everything that kernel CI and people read out."""
