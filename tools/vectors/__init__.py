# SPDX-License-Identifier: GPL-2.0-only
"""Migration vectors: exact answers for other people's VMMs, and what each common shortcut costs.

`model` has the types, `classes` the causes of errors; a module for each kind of write has its
methods, their shortcuts and their cases; `document` puts the file together. docs/vectors.md
describes the file, contrib/vectors/ has its schema and checkers in C and Rust.
"""
