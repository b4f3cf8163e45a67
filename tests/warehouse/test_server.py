"""The embedded server: starts anywhere, as root too, survives a crash and hands out no open doors."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest
from hrloop.settings import Settings
from hrloop.warehouse import EmbeddedServer, open_warehouse
from sqlalchemy import text


@pytest.fixture
def own_settings(tmp_path: Path):
    settings = Settings(home=tmp_path / "own")
    yield settings
    EmbeddedServer.of(settings).stop()


def postmaster(server: EmbeddedServer) -> int:
    return int((server.data / "postmaster.pid").read_text().splitlines()[0])


def test_starts_once_keeps_its_port_and_stops(own_settings: Settings):
    server = EmbeddedServer.of(own_settings)
    port = server.start()
    assert server.start() == port
    assert server.stop()
    assert not server.running()
    assert not server.stop()
    assert server.start() == port


def test_survives_a_killed_postmaster_with_its_data(own_settings: Settings):
    warehouse = open_warehouse(own_settings)
    server = EmbeddedServer.of(own_settings)
    with warehouse.engine("admin").begin() as connection:
        connection.execute(text("create table kept as select 42 as answer"))
    os.kill(postmaster(server), signal.SIGKILL)
    warehouse.dispose()
    again = open_warehouse(own_settings)
    with again.engine("admin").connect() as connection:
        assert connection.scalar(text("select answer from kept")) == 42


def test_asks_for_a_password_and_listens_on_loopback_only(own_settings: Settings):
    warehouse = open_warehouse(own_settings)
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(
            host="127.0.0.1", port=warehouse.port, user="engine", dbname="warehouse", password="x"
        )
    with warehouse.engine("admin").connect() as connection:
        assert connection.scalar(text("show listen_addresses")) == "127.0.0.1"
        assert connection.scalar(text("show unix_socket_directories")) == ""
        assert connection.scalar(text("show fsync")) == "on"


def test_secrets_are_readable_by_their_owner_only(own_settings: Settings):
    open_warehouse(own_settings)
    secrets = list((own_settings.home / "secrets").iterdir())
    assert secrets
    assert {path.stat().st_mode & 0o777 for path in secrets} == {0o600}
    log = EmbeddedServer.of(own_settings).data / "server.log"
    assert not [path.name for path in secrets if path.read_text() in log.read_text()]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take another user's place")
def test_an_ordinary_user_runs_it_under_their_own_name(own_settings: Settings):
    binaries = EmbeddedServer.of(own_settings).binaries  # where others may enter
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to others
        shutil.chown(folder, "nobody")
        child = os.fork()
        if child == 0:
            left = 1
            try:
                os.setgroups([])
                os.setuid(pwd.getpwnam("nobody").pw_uid)
                server = replace(EmbeddedServer.of(Settings(home=Path(folder, "home"))), binaries=binaries)
                assert server.user is None
                assert server.start()
                assert server.data.stat().st_mode & 0o777 == 0o700
                assert server.stop()
                left = 0
            finally:
                os._exit(left)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take another user's place")
def test_root_may_keep_its_home_where_nobody_can_enter(tmp_path: Path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    settings = Settings(home=closed / "home")
    server = EmbeddedServer.of(settings)
    try:
        assert server.start()
        assert server.data.is_relative_to("/var/lib/hrloop")
    finally:
        server.stop()
        subprocess.run(["rm", "-r", str(server.data)], check=True)
