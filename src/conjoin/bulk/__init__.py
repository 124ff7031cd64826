"""Texts of files of any size, for `conjoin generate`: read a window at a time, answered, kept so that a killed run goes on.

lines.py     lines and whole files: gzip, standard input and output, a file that appears whole or not at all
sources.py   what is read: text, JSON lines, Parquet; all of a file, or a part of one
sinks.py     what is written: text, JSON lines, Parquet
windows.py   so many texts at once, and what the model writes of them
identity.py  what tells one model folder from another
spool.py     the answers of a run that is not done yet
running.py   one file, on this machine
shards.py    files in parts for many machines
cluster.py   those parts over a Ray cluster
"""
