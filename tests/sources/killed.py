"""Ingest until the given batch is about to be committed, and be killed there: run as a process of its own."""

import os
import signal
import sys
from pathlib import Path

from adbc_driver_postgresql.dbapi import Connection
from hrloop import as_of, sources
from hrloop.settings import Settings
from hrloop.warehouse import Warehouse

admin_url, database, home, at_commit, moment = sys.argv[1:]
settings = Settings(home=Path(home), database=database)
left = int(at_commit)
commit = Connection.commit


def commit_or_die(connection: Connection) -> None:
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    commit(connection)


Connection.commit = commit_or_die
sources.ingest(Warehouse.at(admin_url, settings), settings, as_of.parse(moment))
