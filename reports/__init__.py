# SPDX-License-Identifier: GPL-2.0-only
"""The reporter: it reads journals and writes what kernel CI and people read."""
