# SPDX-License-Identifier: GPL-2.0-only
"""A guest moved along a route of hosts: `make lab LAB=--migrate`."""
